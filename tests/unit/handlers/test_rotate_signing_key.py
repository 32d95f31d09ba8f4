"""Rotation of the signing keys, step by step, against an emulated Secrets Manager with versions and stages."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
import pytest
from moto import mock_aws
from pydantic import SecretStr

from lambda_app.core.aws import AwsAccess, AwsCredentials, AwsResponseError
from lambda_app.core.security.keys import BadKeyDocumentError, KeyRing, SigningKeys
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings
from lambda_app.handlers import rotate_signing_key
from lambda_app.handlers.rotate_signing_key import RotationRefusedError, SigningKeyRotation

BARE = "Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0" * 2
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
LIFETIME = timedelta(minutes=10)


@pytest.fixture
def secrets_manager() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="eu-west-1")


@pytest.fixture
def secret(secrets_manager: Any) -> str:
    """A secret as the deployment creates it: 64 random characters."""
    arn: str = secrets_manager.create_secret(Name="signing-key", SecretString=BARE)["ARN"]
    return arn


@pytest.fixture
def aws() -> AwsAccess:
    settings = Settings(
        environment="local", database_url=SecretStr("x"), secret_key_arn="arn", s3_bucket_name="bucket", aws_region="eu-west-1"
    )
    return AwsAccess(settings, AwsCredentials(access_key="x", secret_key="x"))


@pytest.fixture
def start(secrets_manager: Any, secret: str, aws: AwsAccess) -> Callable[[], SigningKeyRotation]:
    """Start a rotation, as Secrets Manager does before it invokes the function."""

    def begin() -> SigningKeyRotation:
        version = str(uuid4())
        # moto rotates only with a Lambda function. AWS would create an empty version with this stage.
        backend = moto_secret(secret)
        backend.versions[version] = {"version_id": version, "version_stages": ["AWSPENDING"], "createdate": 0}
        return SigningKeyRotation(aws, secret=secret, version=version)

    return begin


def moto_secret(arn: str) -> Any:
    from moto.secretsmanager.models import secretsmanager_backends

    return secretsmanager_backends["123456789012"]["eu-west-1"].secrets[arn]


def ring(secrets_manager: Any, secret: str) -> KeyRing:
    return KeyRing.parse(secrets_manager.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"])


def rotate(rotation: SigningKeyRotation) -> None:
    for step in STEPS:
        rotation.execute(step)


def test_first_rotation_of_a_bare_secret_only_publishes_the_next_key(secrets_manager: Any, secret: str, start: Any) -> None:
    before = ring(secrets_manager, secret)

    rotate(start())

    after = ring(secrets_manager, secret)
    assert (after.previous, after.current) == (None, before.current)
    assert after.next is not None


def test_rotation_promotes_next_to_current_and_current_to_previous(secrets_manager: Any, secret: str, start: Any) -> None:
    rotate(start())
    before = ring(secrets_manager, secret)

    rotate(start())

    after = ring(secrets_manager, secret)
    assert (after.previous, after.current) == (before.current, before.next)
    assert after.next not in (before.next, before.current, None)


@pytest.mark.parametrize("upto", range(1, 5))
def test_every_step_is_idempotent(secrets_manager: Any, secret: str, start: Any, upto: int) -> None:
    rotation = start()
    for step in STEPS[:upto]:
        rotation.execute(step)
        rotation.execute(step)
    for step in STEPS[upto:]:
        rotation.execute(step)
    first = ring(secrets_manager, secret)
    rotate(rotation)

    assert first.next is not None
    assert ring(secrets_manager, secret) == first


def test_current_keys_do_not_change_before_the_last_step(secrets_manager: Any, secret: str, start: Any) -> None:
    rotation, before = start(), ring(secrets_manager, secret)
    for step in STEPS[:3]:
        rotation.execute(step)
        assert ring(secrets_manager, secret) == before


def test_pending_keys_that_are_not_a_rotation_are_rejected(secrets_manager: Any, secret: str, start: Any) -> None:
    rotation = start()
    rotation.execute("createSecret")
    version = next(item for item in moto_secret(secret).versions.values() if "AWSPENDING" in item["version_stages"])
    version["secret_string"] = json.dumps({"current": {"kid": "a", "key": "k" * 40}, "previous": {"kid": "b", "key": "l" * 40}})

    with pytest.raises(RotationRefusedError):
        rotation.execute("testSecret")


def test_test_step_passes_when_the_pending_version_has_no_value(secrets_manager: Any, secret: str, start: Any) -> None:
    """Secrets Manager calls it alone when the first deployment configures the rotation."""
    before = ring(secrets_manager, secret)

    start().execute("testSecret")

    assert ring(secrets_manager, secret) == before


def test_test_step_accepts_a_copy_of_the_current_keys_which_cannot_become_current(secrets_manager: Any, secret: str, start: Any) -> None:
    rotation = start()
    version = next(item for item in moto_secret(secret).versions.values() if "AWSPENDING" in item["version_stages"])
    version["secret_string"] = BARE

    rotation.execute("testSecret")
    with pytest.raises(RotationRefusedError, match="not a rotation"):
        rotation.execute("finishSecret")


def test_pending_version_without_a_value_cannot_become_current(secrets_manager: Any, secret: str, start: Any) -> None:
    rotation, before = start(), ring(secrets_manager, secret)

    with pytest.raises(RotationRefusedError, match="not a rotation"):
        rotation.execute("finishSecret")

    assert ring(secrets_manager, secret) == before


def test_version_that_is_not_pending_is_rejected(secrets_manager: Any, secret: str, aws: AwsAccess, start: Any) -> None:
    with pytest.raises(RotationRefusedError):
        SigningKeyRotation(aws, secret=secret, version=str(uuid4())).execute("createSecret")
    with pytest.raises(RotationRefusedError):
        start().execute("somethingElse")


def test_handler_accepts_an_event_of_secrets_manager(
    secrets_manager: Any, secret: str, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    version = next(key for key, item in moto_secret(secret).versions.items() if "AWSPENDING" in item["version_stages"])
    for name, value in {
        "ENVIRONMENT": "local",
        "DATABASE_URL": "postgresql://unused@localhost/unused",
        "SECRET_KEY_ARN": secret,
        "S3_BUCKET_NAME": "bucket",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)

    for step in STEPS:
        rotate_signing_key.handler({"Step": step, "SecretId": secret, "ClientRequestToken": version}, None)

    assert ring(secrets_manager, secret).next is not None


def test_other_aws_errors_are_raised(aws: AwsAccess, secrets_manager: Any) -> None:
    with pytest.raises(AwsResponseError):
        SigningKeyRotation(aws, secret="arn:aws:secretsmanager:eu-west-1:123456789012:secret:none", version="v").execute("createSecret")


def test_instance_with_the_old_document_accepts_tokens_signed_with_the_new_key(secrets_manager: Any, secret: str, start: Any) -> None:
    """No new fetch is needed, because the key was published one rotation before it signs."""
    rotate(start())
    document = secrets_manager.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]
    old = AccessTokens(keys=SigningKeys.fixed(document), lifetime=LIFETIME)
    before = old.issue(uuid4(), session_id=uuid4(), token_epoch=0).value
    rotate(start())
    new = AccessTokens(
        keys=SigningKeys.fixed(secrets_manager.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")["SecretString"]),
        lifetime=LIFETIME,
    )

    old.read(new.issue(uuid4(), session_id=uuid4(), token_epoch=0).value)
    new.read(before)


@pytest.mark.parametrize(
    "document",
    ["{", "{}", '{"current": 1}', '{"current": {"kid": "a", "key": "short"}}', '{"current": {"kid": "", "key": "' + "k" * 40 + '"}}'],
)
def test_malformed_document_is_rejected_without_revealing_it(document: str) -> None:
    with pytest.raises(BadKeyDocumentError) as caught:
        KeyRing.parse(document)
    assert "kkkk" not in str(caught.value)
