"""`python -m tests.e2e.deploy.walk_stage --stage dev`: walk through a deployed stage, with the current AWS credentials.

WALK_EMAIL and WALK_PASSWORD name an account of the stage; without them the walk registers one.
"""

import argparse
import os
import sys
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
import httpx

from tests.e2e.deploy.walk import Account, walk


def outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    """Return the outputs of a deployed stack."""
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def main(arguments: list[str] | None = None) -> int:
    """Walk, and return 1 with the failed expectation."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.deploy.walk_stage", description=__doc__)
    parser.add_argument("--stage", default="dev")
    options = parser.parse_args(arguments)
    cloudformation = boto3.client("cloudformation")
    url = outputs(cloudformation, f"WeUpload-{options.stage}-Api")["Url"]
    bucket = outputs(cloudformation, f"WeUpload-{options.stage}-Data")["Bucket"]
    email, password = os.environ.get("WALK_EMAIL"), os.environ.get("WALK_PASSWORD")
    account = Account(email, password) if email and password else None
    try:
        with httpx.Client(base_url=url, timeout=30) as api:
            walk(api, bucket=bucket, account=account)
    except AssertionError as failed:
        print(f"The walk through {url} failed: {failed}", file=sys.stderr)
        return 1
    print(f"The walk through {url} passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
