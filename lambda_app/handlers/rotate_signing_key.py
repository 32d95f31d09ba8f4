"""The entry point that Secrets Manager calls to rotate the keys of the access tokens, in its four steps.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

from lambda_app.core.aws import AwsAccess, AwsRefusedError
from lambda_app.core.logs import configure_logs
from lambda_app.core.security.keys import KeyRing, SigningKeys
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings

PENDING = "AWSPENDING"
CURRENT = "AWSCURRENT"
SERVICE = "secretsmanager"
NOT_FOUND = "ResourceNotFoundException"

logger = logging.getLogger(__name__)


class RotationRefusedError(Exception):
    """The step cannot be made now; Secrets Manager shows the message and tries again."""


def handler(event: dict[str, Any], _context: Any) -> None:
    """Make one step of a rotation. Each may be repeated. Raises RotationRefusedError, UnavailableError."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    SigningKeyRotation(AwsAccess(settings), secret=event["SecretId"], version=event["ClientRequestToken"]).make(event["Step"])
    logger.info("rotation step made", extra={"fields": {"step": event["Step"], "version": event["ClientRequestToken"]}})


class SigningKeyRotation:
    """One rotation of one secret: the version `version` takes the place of the current one."""

    def __init__(self, aws: AwsAccess, *, secret: str, version: str) -> None:
        self._aws = aws
        self._secret = secret
        self._version = version

    def make(self, step: str) -> None:
        """Make the step of this name."""
        stages = self._stages()
        mine = stages.get(self._version)
        if mine is None:
            raise RotationRefusedError("The secret has no such version to rotate to")
        if CURRENT in mine:
            return  # Done by an earlier call of the last step.
        if PENDING not in mine:
            raise RotationRefusedError("The version is not the one that waits for rotation")
        match step:
            case "createSecret":
                self._create()
            case "setSecret":
                pass  # Nobody else has to be told: every instance reads the secret itself.
            case "testSecret":
                self._test()
            case "finishSecret":
                self._finish(stages)
            case _:
                raise RotationRefusedError("There is no such step")

    def _create(self) -> None:
        try:
            KeyRing.parse(self._value(PENDING, version=self._version))
        except AwsRefusedError as error:
            if error.aws_code != NOT_FOUND:
                raise
        else:
            return  # An earlier call made it; a second one would be a second key.
        rotated = KeyRing.parse(self._value(CURRENT)).rotated()
        self._aws.call(
            SERVICE,
            "put_secret_value",
            SecretId=self._secret,
            ClientRequestToken=self._version,
            SecretString=rotated.render(),
            VersionStages=[PENDING],
        )

    def _test(self) -> None:
        pending = self._value(PENDING, version=self._version)
        if not KeyRing.parse(pending).follows(KeyRing.parse(self._value(CURRENT))):
            raise RotationRefusedError("The pending keys do not follow from the current ones")
        tokens = AccessTokens(keys=SigningKeys.fixed(pending), lifetime=timedelta(minutes=1))
        user_id = uuid4()
        token = tokens.issue(user_id, session_id=uuid4(), token_epoch=0)
        if tokens.read(token.value).user_id != user_id:
            raise RotationRefusedError("The pending keys do not verify what they sign")

    def _finish(self, stages: dict[str, list[str]]) -> None:
        current = next((version for version, named in stages.items() if CURRENT in named), None)
        before = {} if current is None else {"RemoveFromVersionId": current}
        self._aws.call(
            SERVICE, "update_secret_version_stage", SecretId=self._secret, VersionStage=CURRENT, MoveToVersionId=self._version, **before
        )

    def _stages(self) -> dict[str, list[str]]:
        described = self._aws.call(SERVICE, "describe_secret", SecretId=self._secret)
        stages: dict[str, list[str]] = described["VersionIdsToStages"]
        return stages

    def _value(self, stage: str, *, version: str | None = None) -> str:
        named = {} if version is None else {"VersionId": version}
        value: str = self._aws.call(SERVICE, "get_secret_value", SecretId=self._secret, VersionStage=stage, **named)["SecretString"]
        return value
