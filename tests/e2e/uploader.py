"""Start or resume a multipart upload by the id of its file. A separate program, so that a test can kill it.

    python uploader.py API TOKEN FILE_ID SOURCE LOG

Writes the number of each part that S3 has accepted to LOG.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

PARTS_PER_REQUEST = 20
COMPLETION_ATTEMPTS = 60


def main(api: str, token: str, file_id: str, source: Path, log: Path) -> None:
    """Send the missing parts, then complete the upload."""
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=api, headers=headers, timeout=60, trust_env=False) as client,
        httpx.Client(timeout=300, trust_env=False) as s3,
    ):
        state = client.get(f"/files/{file_id}/parts").raise_for_status().json()
        stored = {part["number"] for part in state["parts"]}
        missing = [number for number in range(1, state["part_count"] + 1) if number not in stored]
        with source.open("rb") as content, log.open("a") as sent:
            for numbers in in_groups(missing):
                body = {"parts": [{"number": number} for number in numbers]}
                for part in client.post(f"/files/{file_id}/parts", json=body).raise_for_status().json()["parts"]:
                    content.seek((part["number"] - 1) * state["part_size_bytes"])
                    part_body = content.read(part["size_bytes"])
                    s3.request(part["method"], part["upload_url"], content=part_body, headers=part["headers"]).raise_for_status()
                    sent.write(f"{part['number']}\n")
                    sent.flush()
                    os.fsync(sent.fileno())
        complete(client, file_id)


def complete(client: httpx.Client, file_id: str) -> None:
    """Complete the upload, with retries: S3 may need longer than one request to join thousands of parts. A retry is safe."""
    for _ in range(COMPLETION_ATTEMPTS):
        response = client.post(f"/files/{file_id}/complete")
        if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            response.raise_for_status()
            return
        time.sleep(2)
    raise TimeoutError("S3 did not join the parts in time")


def in_groups(numbers: list[int]) -> Iterator[list[int]]:
    """Split the numbers into groups that one request can sign."""
    for at in range(0, len(numbers), PARTS_PER_REQUEST):
        yield numbers[at : at + PARTS_PER_REQUEST]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), Path(sys.argv[5]))
