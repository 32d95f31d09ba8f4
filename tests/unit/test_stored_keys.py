"""Keys in objects of S3: created once, read as secrets, rotated."""

from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
import pytest
from moto import mock_aws
from pydantic import SecretStr

from lambda_app.core.aws import AwsAccess, AwsCredentials, object_of_arn
from lambda_app.core.errors import StoreUnavailableError, UnavailableError
from lambda_app.core.security.keys import KEY_MIN_BYTES, KeyRing, SigningKeys
from lambda_app.core.settings import Settings
from lambda_app.handlers.rotate_stored_key import rotate
from lambda_app.storage.stored_keys import StoredKeys

ARN = "arn:aws:s3:::we-upload-keys/keys/signing-key"


@pytest.fixture
def bucket() -> Iterator[Any]:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="we-upload-keys")
        yield s3


@pytest.fixture
def aws() -> AwsAccess:
    settings = Settings(environment="local", database_url=SecretStr("x"), secret_key_arn=ARN, s3_bucket_name="bucket")
    return AwsAccess(settings, AwsCredentials(access_key="x", secret_key="x"))


@pytest.mark.usefixtures("bucket")
def test_missing_key_is_created_once_and_read_as_a_secret(aws: AwsAccess) -> None:
    keys = StoredKeys(aws)

    assert keys.create_missing(ARN)
    first = aws.secret(ARN)
    assert not keys.create_missing(ARN)

    assert aws.secret(ARN) == first
    assert len(first.encode()) >= KEY_MIN_BYTES
    assert first not in repr(keys.get(ARN))


@pytest.mark.usefixtures("bucket")
def test_rotated_key_signs_and_the_previous_one_is_still_accepted(aws: AwsAccess) -> None:
    keys = StoredKeys(aws)
    keys.create_missing(ARN)
    before = KeyRing.parse(aws.secret(ARN))

    # The first rotation publishes the next key, the second one lets it sign.
    assert rotate(keys, ARN) == before.current.kid
    announced = KeyRing.parse(aws.secret(ARN)).next
    assert announced is not None
    assert rotate(keys, ARN) == announced.kid

    found = SigningKeys(lambda: aws.secret(ARN))
    assert found.current().kid == announced.kid
    assert found.find(before.current.kid) == before.current


@pytest.mark.usefixtures("bucket")
def test_rotation_does_not_overwrite_another_one(aws: AwsAccess) -> None:
    keys = StoredKeys(aws)
    keys.create_missing(ARN)
    stale = keys.get(ARN)
    rotate(keys, ARN)
    rotated = aws.secret(ARN)

    with pytest.raises(StoreUnavailableError, match="Another rotation"):
        keys.replace(ARN, stale, value="overwritten")

    assert aws.secret(ARN) == rotated


@pytest.mark.usefixtures("bucket")
def test_key_that_does_not_exist_makes_the_api_unavailable(aws: AwsAccess) -> None:
    with pytest.raises(UnavailableError) as caught:
        SigningKeys(lambda: aws.secret(ARN)).current()

    assert caught.value.code == "unavailable"


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        (ARN, ("we-upload-keys", "keys/signing-key")),
        ("arn:aws-cn:s3:::b/k", ("b", "k")),
        ("arn:aws:s3:::only-a-bucket", None),
        ("arn:aws:secretsmanager:us-east-1:111122223333:secret:s3/key-AbCdEf", None),
        ("arn", None),
    ],
)
def test_only_arns_of_objects_name_a_stored_key(arn: str, expected: tuple[str, str] | None) -> None:
    assert object_of_arn(arn) == expected
