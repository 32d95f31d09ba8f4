"""Upload a file in parts, or go on with it: all that is needed is its id. Run as a program, so that it can be killed.

    python uploader.py API TOKEN FILE_ID SOURCE LOG

Writes to LOG the number of each part that S3 has taken.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

SIGNED_AT_ONCE = 20
COMPLETION_ATTEMPTS = 60


def main(api: str, token: str, file_id: str, source: Path, log: Path) -> None:
    """Send what is missing, then complete."""
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=api, headers=headers, timeout=60, trust_env=False) as client,
        httpx.Client(timeout=300, trust_env=False) as s3,
    ):
        state = client.get(f"/files/{file_id}/parts").raise_for_status().json()
        held = {part["number"] for part in state["parts"]}
        missing = [number for number in range(1, state["part_count"] + 1) if number not in held]
        with source.open("rb") as content, log.open("a") as sent:
            for numbers in in_groups(missing):
                wanted = {"parts": [{"number": number} for number in numbers]}
                for part in client.post(f"/files/{file_id}/parts", json=wanted).raise_for_status().json()["parts"]:
                    content.seek((part["number"] - 1) * state["part_size_bytes"])
                    body = content.read(part["size_bytes"])
                    s3.request(part["method"], part["upload_url"], content=body, headers=part["headers"]).raise_for_status()
                    sent.write(f"{part['number']}\n")
                    sent.flush()
                    os.fsync(sent.fileno())
        complete(client, file_id)


def complete(client: httpx.Client, file_id: str) -> None:
    """Ask until it is done: to join thousands of parts may take S3 longer than one request lasts, and asking again is safe."""
    for _ in range(COMPLETION_ATTEMPTS):
        answer = client.post(f"/files/{file_id}/complete")
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            answer.raise_for_status()
            return
        time.sleep(2)
    raise TimeoutError("the store did not join the parts in time")


def in_groups(numbers: list[int]) -> Iterator[list[int]]:
    """Cut the list into as many as are signed at once."""
    for at in range(0, len(numbers), SIGNED_AT_ONCE):
        yield numbers[at : at + SIGNED_AT_ONCE]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
