"""Settings: validation, defaults, and the protection of secrets."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lambda_app.core.settings import Environment, Settings

GOOD = {
    "DATABASE_URL": "postgresql://app:s3cr3t-word@db.internal/app",
    "SECRET_KEY": "Zp4vYw8sTq1LrN6uXc3Kd9Hb5Gm2Ja7Ef0",
    "S3_BUCKET_NAME": "uploads",
}


def read(**changes: str) -> Settings:
    return Settings.from_environment({**GOOD, **changes})


def test_defaults_are_secure() -> None:
    settings = read()

    assert settings.environment is Environment.PROD
    assert settings.presigned_url_expiration == 900
    assert settings.backend_cors_origins == ()
    assert settings.database_pool_size == 1


@pytest.mark.parametrize("name", GOOD)
def test_missing_setting_is_named(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?i)\b{name}\b"):
        Settings.from_environment({key: value for key, value in GOOD.items() if key != name})


def test_empty_variable_counts_as_unset() -> None:
    assert read(AWS_ENDPOINT_URL="", LOG_LEVEL="").aws_endpoint_url is None


@pytest.mark.parametrize(
    "key",
    ["short", "changeme-changeme-changeme-changeme-changeme", "a" * 64, "my-secret-my-secret-my-secret-my-secret", "0" * 31],
)
def test_weak_signing_key_is_rejected_outside_local_mode(key: str) -> None:
    with pytest.raises(ValidationError, match="SECRET_KEY"):
        read(SECRET_KEY=key)


@pytest.mark.parametrize("password", ["postgres", "changeme", "Password", "secret"])
def test_placeholder_database_password_is_rejected(password: str) -> None:
    with pytest.raises(ValidationError, match="DATABASE_URL"):
        read(DATABASE_URL=f"postgresql://app:{password}@db.internal/app")


def test_weak_signing_key_is_accepted_in_local_mode() -> None:
    assert read(SECRET_KEY="changeme", ENVIRONMENT="local").is_local


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRESIGNED_URL_EXPIRATION", "901"),
        ("PRESIGNED_URL_EXPIRATION", "0"),
        ("BACKEND_CORS_ORIGINS", "*"),
        ("BACKEND_CORS_ORIGINS", "https://*.example.com"),
        ("BACKEND_CORS_ORIGINS", "https://a.example.com/path"),
        ("S3_PUBLIC_ENDPOINT_URL", "ftp://files.example.com"),
        ("S3_PUBLIC_ENDPOINT_URL", "files.example.com"),
        ("API_V1_STR", "api/v1"),
        ("API_V1_STR", "/api/v1/"),
        ("AWS_REGION", "moon"),
        ("LOG_LEVEL", "LOUD"),
        ("ENVIRONMENT", "production-ish"),
        ("OPEN_REGISTRATION", "perhaps"),
        ("DEFAULT_LANGUAGE", "fr"),
        ("BRAND_NAME", " Nord"),
        ("BRAND_NAME", "Nord\u202edron"),
        ("BRAND_NAME", "Nord\nSouth"),
        ("BRAND_NAME", "x" * 41),
        ("ABUSE_EMAIL", "abuse"),
        ("ABUSE_EMAIL", "a@example.com?bcc=b@example.com"),
        ("ABUSE_EMAIL", "a@example.com, b@example.com"),
        ("BRAND_ACCENT", "red"),
        ("BRAND_ACCENT", "#ffcc00"),
        ("BRAND_LOGO_FILE", "/none/logo.svg"),
        ("BRAND_LOGO_FILE", "/etc/passwd"),
        ("PLACES_FILE", "/none/places.mmdb"),
        ("PLACES_FILE", "/etc/passwd"),
    ],
)
def test_invalid_value_is_rejected(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        read(**{name: value})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("logo.svg", b"<svg>" + bytes(64 * 1024), "a logo has at most 65,536"),
        ("logo.svg", b"<html></html>", "is not a valid SVG file"),
        ("logo.png", b"<svg></svg>", "is not a valid PNG file"),
        ("logo.gif", b"GIF89a", "must be a file whose name ends in .svg or .png"),
    ],
)
def test_logo_is_a_small_picture(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ValidationError, match=message):
        read(BRAND_LOGO_FILE=str(tmp_path / name))


def test_origins_are_separated_by_commas() -> None:
    origins = read(BACKEND_CORS_ORIGINS="https://a.example.com, http://localhost:3000,").backend_cors_origins

    assert origins == ("https://a.example.com", "http://localhost:3000")


def test_repr_and_errors_contain_no_secrets() -> None:
    shown = repr(read())
    with pytest.raises(ValidationError) as caught:
        read(SECRET_KEY="tiny-s3cr3t", DATABASE_POOL_SIZE="s3cr3t-word")

    assert "s3cr3t-word" not in shown
    assert GOOD["SECRET_KEY"] not in shown
    assert "s3cr3t" not in str(caught.value)


def test_signing_key_has_exactly_one_source() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:signing-key-abcdef"
    assert read(SECRET_KEY="", SECRET_KEY_ARN=arn).secret_key is None
    with pytest.raises(ValidationError, match="exactly one"):
        read(SECRET_KEY_ARN=arn)


def test_link_key_is_optional_and_has_one_source() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:link-key-abcdef"
    assert (read().link_key, read(LINK_KEY_ARN=arn).link_key_arn) == (None, arn)
    with pytest.raises(ValidationError, match="only one of LINK_KEY"):
        read(LINK_KEY=GOOD["SECRET_KEY"], LINK_KEY_ARN=arn)
    with pytest.raises(ValidationError, match="LINK_KEY must have"):
        read(LINK_KEY="short")
    with pytest.raises(ValidationError, match="LINK_KEY is a placeholder"):
        read(LINK_KEY="changeme" * 8)


@pytest.mark.parametrize("bucket", ["", "uploads"])
def test_locked_checkpoints_need_a_bucket_of_their_own(bucket: str) -> None:
    locked = GOOD | {"S3_BUCKET_NAME": "uploads", "CHECKPOINT_LOCK_DAYS": "30"}

    with pytest.raises(ValidationError, match="CHECKPOINT_LOCK_DAYS requires CHECKPOINT_BUCKET_NAME"):
        Settings.from_environment(locked | {"CHECKPOINT_BUCKET_NAME": bucket})
    assert Settings.from_environment(locked | {"CHECKPOINT_BUCKET_NAME": "checkpoints"}).checkpoint_lock_days == 30


def test_mail_folder_is_allowed_only_in_local_mode() -> None:
    assert read(MAIL_FOLDER="mail", ENVIRONMENT="local").can_send_mail
    with pytest.raises(ValidationError, match="MAIL_FOLDER"):
        read(MAIL_FOLDER="mail")


def test_email_verification_requires_a_mail_sender() -> None:
    with pytest.raises(ValidationError, match="MAIL_FROM"):
        read(REQUIRE_VERIFIED_EMAIL="true")
    mail = {"MAIL_FROM": "files@example.com", "PUBLIC_URL": "https://files.example.com"}
    assert read(REQUIRE_VERIFIED_EMAIL="true", **mail).require_verified_email


@pytest.mark.parametrize("url", ["", "http://files.example.com"])
def test_mail_sender_requires_an_https_public_url(url: str) -> None:
    with pytest.raises(ValidationError, match="PUBLIC_URL"):
        read(MAIL_FROM="files@example.com", PUBLIC_URL=url)
