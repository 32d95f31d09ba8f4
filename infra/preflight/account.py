"""The account and the region that the credentials select."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # botocore ships no types

from infra.config import StageConfig

NOT_FOUND = (
    "ValidationError",
    "ParameterNotFound",
    "DBProxyNotFoundFault",
    "ResourceNotFoundException",
    "NotFoundException",
    "InvalidServiceName",
)


@dataclass(frozen=True)
class Account:
    """A region of an account, and the stage that will be deployed to it."""

    account_id: str
    region: str
    config: StageConfig
    client: Callable[..., Any]
    """Returns the client of a service: `client("rds")`, `client("acm", "us-east-1")`. The default region is that of the account."""

    def stack_name(self, part: str) -> str:
        """The name of a stack of the stage: `Network`, `Data`, `Api` or `Firewall`."""
        return f"WeUpload-{self.config.name}-{part}"

    def stack_status(self, part: str, region: str | None = None) -> str | None:
        """Return the status of a stack of the stage; None if it does not exist."""
        client = self.client("cloudformation", region) if region else self.client("cloudformation")
        described = or_none(lambda: client.describe_stacks(StackName=self.stack_name(part)))
        return described["Stacks"][0]["StackStatus"] if described and described["Stacks"] else None


def or_none(call: Callable[[], Any]) -> Any:
    """Return the answer of `call`, or None if AWS answers that the resource does not exist."""
    try:
        return call()
    except ClientError as failure:
        if failure.response["Error"]["Code"] not in NOT_FOUND:
            raise
        return None
