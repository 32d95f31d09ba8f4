"""The settings of identity providers: valid ones, and the errors of invalid ones."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from lambda_app.core.settings import Settings

GOOD = {
    "DATABASE_URL": "postgresql://app:s3cr3t-word@db.internal/app",
    "SECRET_KEY": "Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0",
    "S3_BUCKET_NAME": "uploads",
    "IDENTITY_KEY": "Kd9Hb5Gm2Ja7Ef0Zp4vYw8sTq1LrN6uXc3",
    "API_URL": "https://files.example.com",
}
PROVIDER = {
    "id": "google",
    "name": "Google",
    "issuer": "https://accounts.google.com",
    "client_id": "c",
    "client_secret": "s3cr3t-of-client",
}


def read(*providers: dict[str, Any], **changes: str) -> Settings:
    return Settings.from_environment({**GOOD, "IDENTITY_PROVIDERS": json.dumps(providers), **changes})


def test_providers_are_read_in_order() -> None:
    settings = read(PROVIDER, {**PROVIDER, "id": "company", "trusted_email": True, "allowed_domains": ["Example.com"]})

    assert [provider.id for provider in settings.identity_providers] == ["google", "company"]
    company = settings.identity_provider("company")
    assert company is not None
    assert company.allows("ada@example.com")
    assert not company.allows("ada@sub.example.com")
    assert not company.allows("ada@example.com.evil.org")
    assert settings.identity_provider("unknown") is None


def test_scopes_are_openid_and_email_by_default() -> None:
    (provider,) = read(PROVIDER).identity_providers

    assert provider.scopes == ("openid", "email")
    assert not provider.trusted_email
    assert not provider.creates_accounts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Google"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"name": " Google"}, "name"),
        ({"name": "G\u202eoogle"}, "name"),
        ({"issuer": "http://accounts.example.com"}, "issuer"),
        ({"issuer": "https://accounts.example.com?x=1"}, "issuer"),
        ({"issuer": "https://user@accounts.example.com"}, "issuer"),
        ({"issuer": "https://"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"scopes": ["email"]}, "scopes"),
        ({"scopes": ["openid", "a b"]}, "scopes"),
        ({"allowed_domains": ["example.com"]}, "trusted_email"),
        ({"creates_accounts": True}, "trusted_email"),
        ({"trusted_email": True, "allowed_domains": ["*.example.com"]}, "allowed_domains"),
        ({"misspelt": True}, "misspelt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_invalid_provider_is_refused_with_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s)provider 1.*{message}") as caught:
        read({**PROVIDER, **change})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{", '{"id": "s3cr3t"}', '["s3cr3t"]', "7", "[" * 100_000], ids=["broken", "object", "texts", "number", "deep"]
)
def test_text_that_is_no_list_of_objects_is_refused_without_its_content(text: str) -> None:
    with pytest.raises(ValidationError, match="JSON") as caught:
        read(IDENTITY_PROVIDERS=text)
    assert "s3cr3t" not in str(caught.value)


def test_two_providers_with_one_id_are_refused() -> None:
    with pytest.raises(ValidationError, match="same id"):
        read(PROVIDER, PROVIDER)


@pytest.mark.parametrize(
    "change",
    [{"IDENTITY_KEY": ""}, {"IDENTITY_KEY": "short"}, {"API_URL": ""}, {"API_URL": "http://files.example.com"}],
    ids=["no_key", "weak_key", "no_address", "no_tls"],
)
def test_providers_need_a_strong_key_and_an_https_address(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        read(PROVIDER, **change)


def test_provider_without_tls_is_accepted_in_local_mode_on_this_machine_only() -> None:
    loopback = {**PROVIDER, "issuer": "http://127.0.0.1:9000"}

    assert read(loopback, ENVIRONMENT="local").identity_providers[0].issuer == "http://127.0.0.1:9000"
    with pytest.raises(ValidationError, match="https"):
        read(loopback)
    with pytest.raises(ValidationError, match="issuer"):
        read({**PROVIDER, "issuer": "http://10.0.0.1:9000"}, ENVIRONMENT="local")


def test_password_sign_in_cannot_be_closed_without_a_provider() -> None:
    assert not read(PROVIDER, PASSWORD_SIGN_IN="false").password_sign_in
    with pytest.raises(ValidationError, match="PASSWORD_SIGN_IN"):
        read(PASSWORD_SIGN_IN="false")


def test_function_outside_the_vpc_needs_no_database_bucket_or_signing_key() -> None:
    environment = {"IDENTITY_PROVIDERS": json.dumps([PROVIDER]), "IDENTITY_KEY": GOOD["IDENTITY_KEY"], "API_URL": GOOD["API_URL"]}

    assert [provider.id for provider in Settings.for_identity(environment).identity_providers] == ["google"]
