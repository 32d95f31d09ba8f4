"""The Lambda entry point that Secrets Manager invokes for the four steps of rotating the signing keys.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

from lambda_app.core.aws import AwsAccess, AwsResponseError
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
    """The step cannot be executed now. Secrets Manager shows the message and retries."""


def handler(event: dict[str, Any], _context: Any) -> None:
    """Execute one step of a rotation. Every step is idempotent. Raises RotationRefusedError, UnavailableError."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    SigningKeyRotation(AwsAccess(settings), secret=event["SecretId"], version=event["ClientRequestToken"]).execute(event["Step"])
    logger.info("executed a rotation step", extra={"fields": {"step": event["Step"], "version": event["ClientRequestToken"]}})


class SigningKeyRotation:
    """One rotation of one secret: `version` replaces the current version."""

    def __init__(self, aws: AwsAccess, *, secret: str, version: str) -> None:
        self._aws = aws
        self._secret = secret
        self._version = version

    def execute(self, step: str) -> None:
        """Execute a step: createSecret, setSecret, testSecret or finishSecret."""
        stages = self._stages()
        version_stages = stages.get(self._version)
        if version_stages is None:
            raise RotationRefusedError("The secret does not have this version")
        if CURRENT in version_stages:
            return  # An earlier call of finishSecret has completed the rotation.
        if PENDING not in version_stages:
            raise RotationRefusedError(f"The version is not staged as {PENDING}")
        match step:
            case "createSecret":
                self._create()
            case "setSecret":
                pass  # Nothing to configure elsewhere: each instance reads the secret itself.
            case "testSecret":
                self._test()
            case "finishSecret":
                self._finish(stages)
            case _:
                raise RotationRefusedError(f"Unknown rotation step: {step}")

    def _create(self) -> None:
        pending = self._pending()
        if pending is not None:
            KeyRing.parse(pending)
            return  # An earlier call created the pending version. Creating it again would generate another key.
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
        """Check that the pending keys sign and verify a token.

        Secrets Manager also calls this step when rotation is configured, without createSecret, to test the function. The pending version
        then has no value, or the current one.
        """
        pending = self._pending()
        if pending is None:
            logger.info("the pending version has no value yet; there is nothing to test", extra={"fields": {"version": self._version}})
            return
        if not self._is_rotation_or_copy(pending):
            raise RotationRefusedError("The pending keys are not a rotation of the current keys")
        tokens = AccessTokens(keys=SigningKeys.fixed(pending), lifetime=timedelta(minutes=1))
        user_id = uuid4()
        token = tokens.issue(user_id, session_id=uuid4(), token_epoch=0)
        if tokens.read(token.value).user_id != user_id:
            raise RotationRefusedError("The pending keys do not verify the tokens that they sign")

    def _is_rotation_or_copy(self, pending: str) -> bool:
        current = self._value(CURRENT)
        return pending == current or KeyRing.parse(pending).is_rotation_of(KeyRing.parse(current))

    def _finish(self, stages: dict[str, list[str]]) -> None:
        pending = self._pending()
        if pending is None or not KeyRing.parse(pending).is_rotation_of(KeyRing.parse(self._value(CURRENT))):
            raise RotationRefusedError("The pending keys are not a rotation of the current keys")
        current = next((version for version, version_stages in stages.items() if CURRENT in version_stages), None)
        replaced = {} if current is None else {"RemoveFromVersionId": current}
        self._aws.call(
            SERVICE, "update_secret_version_stage", SecretId=self._secret, VersionStage=CURRENT, MoveToVersionId=self._version, **replaced
        )

    def _stages(self) -> dict[str, list[str]]:
        secret = self._aws.call(SERVICE, "describe_secret", SecretId=self._secret)
        stages: dict[str, list[str]] = secret["VersionIdsToStages"]
        return stages

    def _pending(self) -> str | None:
        """Return the value of the version that this rotation creates; None while it has none."""
        try:
            return self._value(PENDING, version=self._version)
        except AwsResponseError as error:
            if error.aws_code != NOT_FOUND:
                raise
            return None

    def _value(self, stage: str, *, version: str | None = None) -> str:
        version_id = {} if version is None else {"VersionId": version}
        value: str = self._aws.call(SERVICE, "get_secret_value", SecretId=self._secret, VersionStage=stage, **version_id)["SecretString"]
        return value
