"""`python -m infra.recovery --stage prod --to 2026-11-28T04:00:00Z`: restore the database of a stage, with the current AWS credentials."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # botocore ships no types

from infra.recovery.steps import Restore, RestoreError, parse_label, parse_time, read_stage

BUILD = Path(__file__).resolve().parents[2] / "build"
INVOKE_SECONDS = 900


def main(arguments: list[str] | None = None) -> int:
    """Restore after a confirmation. Return 1 when it stopped."""
    parser = argparse.ArgumentParser(prog="python -m infra.recovery", description=__doc__)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--to", metavar="TIME", help="for example 2026-11-28T04:00:00Z (default: the latest restorable time)")
    parser.add_argument("--label", default=datetime.now(UTC).strftime("%Y%m%d"), help="repeat it to continue an interrupted restore")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    started_at = monotonic()

    def report(line: str) -> None:
        print(f"{monotonic() - started_at:6.0f} s  {line}", flush=True)

    def client(service: str) -> Any:
        # Not repeated: the second invocation of a migration would run beside the first.
        # Kept alive: routers close connections on which nothing happens for minutes.
        patient = Config(read_timeout=INVOKE_SECONDS, retries={"total_max_attempts": 1}, tcp_keepalive=True)
        config = patient if service == "lambda" else None
        return boto3.client(service, config=config)

    try:
        restore = Restore(
            stage=read_stage(client("cloudformation"), options.stage),
            moment=parse_time(options.to),
            clients=client,
            label=parse_label(options.label),
            report=report,
            state=BUILD / f"restore-{options.stage}-{options.label}.json",
        )
        print(f"This stops {options.stage}, and replaces its database by its state of {options.to or 'the latest restorable time'}.")
        if not options.yes and input(f"Type the name of the stage to continue ({options.stage}): ") != options.stage:
            return 1
        restore.run()
    except (RestoreError, BotoCoreError, ClientError) as error:
        print(f"The restore stopped: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
