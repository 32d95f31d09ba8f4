"""`python -m infra.release.versions --stage dev`: delete versions of the stage's functions that no rollback needs.

CloudFormation keeps every published version, so that the alias can be rolled back. Each version with a SnapStart snapshot costs as long as
it exists.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

import boto3  # type: ignore[import-untyped]  # boto3 ships no types

KEPT = 1
"""Versions kept beside those that an alias names: the previous release, for a rollback."""
LATEST = "$LATEST"


def superfluous_versions(versions: Iterable[str], aliases: Iterable[dict[str, Any]], *, kept: int = KEPT) -> list[str]:
    """Return the versions to delete: neither named by an alias nor among the `kept` newest others."""
    in_use = {LATEST}
    for alias in aliases:
        in_use |= {alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})}
    others = sorted((version for version in versions if version not in in_use), key=int, reverse=True)
    return others[kept:]


def prune_function(client: Any, name: str, *, kept: int = KEPT) -> list[str]:
    """Delete the superfluous versions of one function and return them."""
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    versions = [version["Version"] for page in pages for version in page["Versions"]]
    aliases = [alias for page in client.get_paginator("list_aliases").paginate(FunctionName=name) for alias in page["Aliases"]]
    deleted = superfluous_versions(versions, aliases, kept=kept)
    for version in deleted:
        client.delete_function(FunctionName=name, Qualifier=version)
    return deleted


def functions_of(cloudformation: Any, stack: str) -> list[str]:
    """Return the names of the functions of a stack."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return [resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == "AWS::Lambda::Function"]


def main(arguments: list[str] | None = None, *, session: Any = boto3) -> int:
    """Delete the versions and print them."""
    parser = argparse.ArgumentParser(prog="python -m infra.release.versions", description=__doc__)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--keep", type=int, default=KEPT, help="versions to keep beside those that an alias names")
    options = parser.parse_args(arguments)
    client = session.client("lambda")
    for name in functions_of(session.client("cloudformation"), f"WeUpload-{options.stage}-Api"):
        if deleted := prune_function(client, name, kept=options.keep):
            print(f"{name}: deleted version {', '.join(deleted)}")  # noqa: T201 - output of the command
    return 0


if __name__ == "__main__":
    sys.exit(main())
