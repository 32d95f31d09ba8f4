"""Secrets from AWS Secrets Manager: selected by the settings, fetched on first use, rejected when they are weak."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from moto import mock_aws
from pydantic import SecretStr, ValidationError

from lambda_app.core.aws import AwsAccess, AwsCredentials, AwsResponseError
from lambda_app.core.errors import UnavailableError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings
from lambda_app.factory import Services

URL = "postgresql://app@db.internal/app"
USER_ID = uuid4()
KEY = "Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0"
LINK_KEY = "b7Rk2Wm9Xq4Ty6Nc1Jf8Vh3Lp5Gd0Sa7Ze"


def settings(**changes: object) -> Settings:
    """Return settings of a deployed function, whose signing key is in Secrets Manager."""
    defaults = {"database_url": URL, "s3_bucket_name": "uploads", "secret_key_arn": "arn:aws:secretsmanager:key"}
    return Settings.model_validate({key: value for key, value in (defaults | changes).items() if value is not None})


def issue(tokens: AccessTokens) -> str:
    """Return an access token."""
    return tokens.issue(USER_ID, session_id=uuid4(), token_epoch=0).value


def test_secret_key_arn_replaces_secret_key() -> None:
    assert settings().secret_key is None


@pytest.mark.parametrize("changes", [{"secret_key_arn": None}, {"secret_key": KEY}])
def test_exactly_one_of_secret_key_and_its_arn_is_required(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="exactly one of SECRET_KEY and SECRET_KEY_ARN"):
        settings(**changes)


@pytest.mark.parametrize("role", ["we-upload", "Upper", 'a"; DROP TABLE file; --', "1st", "x" * 64])
def test_database_role_must_be_a_plain_identifier(role: str) -> None:
    with pytest.raises(ValidationError, match="database_app_role"):
        settings(database_app_role=role)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> "AwsAccess":
    """Access to an empty Secrets Manager."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return AwsAccess(settings(), AwsCredentials("test", "test"))


@mock_aws
def test_secret_returns_the_current_value(vault: AwsAccess) -> None:
    client = vault.client("secretsmanager")
    arn = client.create_secret(Name="key", SecretString="first")["ARN"]
    assert vault.secret(arn) == "first"

    client.put_secret_value(SecretId=arn, SecretString="second")

    assert vault.secret(arn) == "second"


@mock_aws
def test_missing_secret_raises_unavailable(vault: AwsAccess) -> None:
    with pytest.raises(AwsResponseError) as refusal:
        vault.secret("missing")

    assert refusal.value.aws_code == "ResourceNotFoundException"


@mock_aws
def test_signing_key_is_fetched_from_its_secret_with_the_first_token(vault: AwsAccess) -> None:
    client = vault.client("secretsmanager")
    services = Services.build(settings(secret_key_arn="key"))
    client.create_secret(Name="key", SecretString=KEY)

    token = issue(services.tokens)

    twin = AccessTokens(keys=SigningKeys.fixed(KEY), lifetime=timedelta(minutes=10))
    assert twin.read(token).user_id == USER_ID


@mock_aws
def test_weak_key_in_the_secret_is_rejected(vault: AwsAccess) -> None:
    vault.client("secretsmanager").create_secret(Name="key", SecretString="changeme")

    with pytest.raises(UnavailableError):
        issue(Services.build(settings(secret_key_arn="key")).tokens)


@mock_aws
def test_before_snapshot_drops_the_signing_key(vault: AwsAccess) -> None:
    client = vault.client("secretsmanager")
    client.create_secret(Name="key", SecretString=KEY)
    services = Services.build(settings(secret_key_arn="key"))
    issue(services.tokens)

    services.before_snapshot()
    client.put_secret_value(SecretId="key", SecretString=KEY[::-1])

    twin = AccessTokens(keys=SigningKeys.fixed(KEY[::-1]), lifetime=timedelta(minutes=10))
    assert twin.read(issue(services.tokens)).user_id == USER_ID


@mock_aws
def test_link_key_comes_from_its_secret_and_not_from_the_snapshot(vault: AwsAccess) -> None:
    client = vault.client("secretsmanager")
    client.create_secret(Name="key", SecretString=KEY)
    client.create_secret(Name="links", SecretString=LINK_KEY)
    services = Services.build(settings(secret_key_arn="key", link_key_arn="links"))
    assert services.link_keys.current() == SigningKey.from_secret(LINK_KEY)

    services.before_snapshot()
    client.put_secret_value(SecretId="links", SecretString=LINK_KEY[::-1])

    assert services.link_keys.current() == SigningKey.from_secret(LINK_KEY[::-1])


@mock_aws
def test_links_stay_readable_while_the_secret_has_their_key_as_previous(vault: AwsAccess) -> None:
    client = vault.client("secretsmanager")
    client.create_secret(Name="key", SecretString=KEY)
    client.create_secret(Name="links", SecretString=LINK_KEY)
    row = uuid4()
    encrypted = LinkTokenCipher(Services.build(settings(secret_key_arn="key", link_key_arn="links")).link_keys).encrypt("token", row_id=row)
    document = KeyRing(current=SigningKey(kid="2", secret=KEY[::-1]), previous=SigningKey.from_secret(LINK_KEY)).render()

    client.put_secret_value(SecretId="links", SecretString=document)

    cipher = LinkTokenCipher(Services.build(settings(secret_key_arn="key", link_key_arn="links")).link_keys)
    assert cipher.decrypt(encrypted, row_id=row) == "token"
    assert not cipher.is_current(encrypted)


@mock_aws
def test_database_password_is_read_from_the_rds_secret(vault: AwsAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = vault.client("secretsmanager").create_secret(Name="rds", SecretString=json.dumps({"username": "postgres", "password": "p%"}))[
        "ARN"
    ]
    sources = []
    monkeypatch.setattr("lambda_app.factory.create_database_engine", lambda _, password_source: sources.append(password_source))
    monkeypatch.setattr("lambda_app.factory.create_session_factory", lambda _: None)

    Services.build(settings(secret_key_arn=None, secret_key=SecretStr(KEY), database_secret_arn=arn))

    assert [source() for source in sources] == ["p%"]
