"""`python -m infra.preflight --stage dev`: check the account of the current credentials before anything is created in it."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import (  # type: ignore[import-untyped]  # botocore ships no types
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.session import Session  # type: ignore[import-untyped]  # botocore ships no types

from infra.config import LOCAL, ConfigError, StageConfig, stage_config
from infra.preflight.account import Account
from infra.preflight.checks import CHECKS, Check
from infra.preflight.findings import Finding, Level, error

CDK_JSON = Path(__file__).resolve().parents[2] / "cdk.json"
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")


def run_checks(account: Account, checks: tuple[Check, ...] = CHECKS) -> Iterator[Finding]:
    """Yield the findings of all checks. A check that AWS refuses is `unknown`; the others still run."""
    for check in checks:
        name = check.__name__.removeprefix("check_")
        try:
            yield from check(account)
        except ClientError as failure:
            code, operation = failure.response["Error"]["Code"], failure.operation_name
            if code in DENIED or code.endswith("AccessDenied"):
                remedy = f"Allow your credentials the action {operation}, or check this yourself."
            else:
                remedy = "Check this yourself, or run the command again."
            yield Finding(Level.UNKNOWN, name, f"{operation}: {code}: {failure.response['Error'].get('Message', '')}", remedy)
        except BotoCoreError as failure:
            yield Finding(Level.UNKNOWN, name, str(failure), "Check this yourself, or run the command again.")


def open_account(config: StageConfig, session: Any) -> Account:
    """Return the account of the session's credentials. Raises botocore's errors when it has none."""
    region = session.get_config_variable("region")
    if not region:
        raise NoRegionError

    def client(service: str, region_name: str = region) -> Any:
        return session.create_client(service, region_name=region_name)

    identity = client("sts").get_caller_identity()
    return Account(account_id=identity["Account"], region=region, config=config, client=client)


def read_config(stage: str, context: list[str]) -> StageConfig:
    """Return the stage with the overrides of `-c key=value`, as the deployment reads it. Raises ConfigError."""
    if stage == LOCAL:
        raise ConfigError("the local stage is not deployed to AWS")
    given = dict(item.partition("=")[::2] for item in context)
    return stage_config((json.loads(CDK_JSON.read_text())["context"] | given | {"stage": stage}).get)


def main(arguments: list[str] | None = None, *, open_session: Callable[[], Any] = Session) -> int:
    """Print the findings. Return 1 if the deployment would fail."""
    parser = argparse.ArgumentParser(prog="python -m infra.preflight", description=__doc__, allow_abbrev=False)
    parser.add_argument("--stage", default="dev")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="as for the deployment")
    # Other options of the cdk command that CDK= may contain.
    options, _ = parser.parse_known_args(arguments)
    try:
        config = read_config(options.stage, options.context)
        account = open_account(config, open_session())
    except (NoCredentialsError, NoRegionError, BotoCoreError, ClientError) as failure:
        return _report([error("credentials", str(failure), "Configure credentials and a region: aws configure, or AWS_PROFILE.")])
    except ConfigError as failure:
        return _report([error("settings", str(failure), "Correct infra/config.py or the -c options.")])
    print(f"Account {account.account_id}, region {account.region}, stage {config.name}")  # noqa: T201 - output of the command
    return _report(list(run_checks(account)))


def _report(findings: list[Finding]) -> int:
    for finding in findings:
        print(f"{finding.level:8} {finding.check:12} {finding.message}")  # noqa: T201 - output of the command
        if finding.remedy:
            print(f"{'':21} → {finding.remedy}")  # noqa: T201 - output of the command
    failed = sum(finding.level is Level.ERROR for finding in findings)
    unknown = sum(finding.level is Level.UNKNOWN for finding in findings)
    print(f"{failed} errors, {unknown} not checked")  # noqa: T201 - output of the command
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
