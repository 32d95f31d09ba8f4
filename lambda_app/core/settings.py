"""Settings, read once from the environment; nothing else in the package reads it.

pydantic-settings would do the same and costs 120 ms of every cold start (docs/adr/0003-settings-as-a-pydantic-model.md).
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

SECRET_KEY_MIN_BYTES = 32
"""HMAC-SHA-256 wants a key of at least its own output (RFC 7518, section 3.2)."""

PLACEHOLDER_SECRETS = ("changeme", "change-me", "change_me", "changethis", "secret", "placeholder", "example", "password")
"""A signing key that contains one of these was copied from a tutorial."""

PRESIGNED_URL_MAX_SECONDS = 900
"""No presigned URL lives longer; the bucket policy refuses older signatures too."""


def refuse_weak_key(key: str) -> None:
    """Raise ValueError for a signing key that is short or a placeholder."""
    if len(key.encode()) < SECRET_KEY_MIN_BYTES:
        raise ValueError(f"SECRET_KEY must have at least {SECRET_KEY_MIN_BYTES} bytes outside local mode")
    if any(word in key.lower() for word in PLACEHOLDER_SECRETS) or len(set(key)) < 8:
        raise ValueError("SECRET_KEY is a placeholder; make one with: openssl rand -base64 48")


class Environment(StrEnum):
    """Where the process runs; only `local` forgives weak secrets and plain-text connections."""

    LOCAL = "local"
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


def _split_commas(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Settings(BaseModel):
    """Everything the deployment can turn; the field name in upper case is the environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Environment = Environment.PROD
    """`local` on a laptop and in tests; anything else demands real secrets and verified TLS."""
    api_v1_str: str = "/api/v1"
    """Path prefix of the versioned API."""
    database_url: SecretStr
    """`postgresql://user:password@host:5432/name?sslmode=verify-full`; see `db/engine`."""
    database_iam_auth: bool = False
    """Sign in to PostgreSQL with an IAM token made at connect, instead of the URL's password."""
    database_pool_size: int = Field(default=1, ge=1, le=50)
    """Connections a process keeps. 1 in Lambda, where requests never overlap."""
    database_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """The longest wait for one answer of the database."""
    database_secret_arn: str | None = None
    """The Secrets Manager secret whose JSON holds the password instead of the URL, as RDS keeps its owner's; for migrations."""
    database_app_role: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """The database role to which migrations give the application's rights."""
    secret_key: SecretStr | None = None
    """Key of the access tokens' HMAC, at least 32 bytes, or a JSON document of keys (`core/security/keys`)."""
    secret_key_arn: str | None = None
    """The secret in Secrets Manager that holds the same instead; it is read when the first token is."""
    access_token_expire_minutes: int = Field(default=10, ge=1, le=1440)
    """Lifecycle of an access token."""
    refresh_token_expire_days: int = Field(default=14, ge=1, le=90)
    """Days after which a session that was not refreshed is over."""
    mail_from: str | None = None
    """The sender of our mail, an identity that SES has verified."""
    mail_folder: str | None = None
    """A folder that mail is written to instead of being sent; `local` only."""
    public_url: str = "http://127.0.0.1:8000"
    """The page that links in mail lead to."""
    api_url: str | None = None
    """Where people reach this API, with the stage if there is one: what share links and file requests begin with. None: the path alone."""
    require_verified_email: bool = False
    """Whether an account can be used only after its address was confirmed by mail."""
    s3_bucket_name: str = Field(min_length=3, max_length=63)
    """The bucket that holds the uploaded objects."""
    aws_region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """Region of the bucket and of everything else."""
    aws_endpoint_url: str | None = None
    """Where AWS calls go instead of AWS itself: an emulator."""
    s3_public_endpoint_url: str | None = None
    """The S3 address that clients will use, when it differs from ours."""
    presigned_url_expiration: int = Field(default=PRESIGNED_URL_MAX_SECONDS, ge=1, le=PRESIGNED_URL_MAX_SECONDS)
    """Seconds a presigned URL lives, 900 at most."""
    user_quota_bytes: int = Field(default=100 * 1024**3, ge=0, le=2**62)
    """Bytes that a user may keep, unless a superuser allows them more or less."""
    user_quota_files: int = Field(default=100_000, ge=0, le=2**31 - 1)
    """Files that a user may keep, likewise."""
    trash_retention_days: int = Field(default=0, ge=0, le=365)
    """Days that deleted files can be restored; with 0 they are deleted at once."""
    archive_retention_hours: int = Field(default=24, ge=1, le=168)
    """Hours that a zip of several files is kept."""
    open_registration: bool = True
    """Whether anyone may create an account; a superuser always may."""
    backend_cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    """Origins, separated by commas, whose pages may call the API. Never `*`."""
    origin_key_arns: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    """Secrets, separated by commas, one of which every request must carry: the proof that it came through CloudFront."""
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    """Least severe level that is logged."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environ` (the process's own by default).

        An empty variable counts as absent. Raises pydantic's ValidationError, which names the variables but never their values.
        """
        source = os.environ if environ is None else environ
        return cls.model_validate({name: source[name.upper()] for name in cls.model_fields if source.get(name.upper())})

    @property
    def is_local(self) -> bool:
        """Whether this is a laptop or a test."""
        return self.environment is Environment.LOCAL

    @field_validator("api_v1_str")
    @classmethod
    def _is_a_plain_prefix(cls, value: str) -> str:
        if not value.startswith("/") or value.endswith("/") or "//" in value:
            raise ValueError("must start with a slash and not end with one, as /api/v1")
        return value

    @field_validator("aws_endpoint_url", "s3_public_endpoint_url", "public_url", "api_url")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http(s) address, as https://files.example.com")
        return value.rstrip("/")

    @field_validator("backend_cors_origins")
    @classmethod
    def _names_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or "*" in origin:
                raise ValueError("must be origins such as https://app.example.com, without a path and never *")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_signing_key(self) -> Self:
        if (self.secret_key is None) == (self.secret_key_arn is None):
            raise ValueError("exactly one of secret_key and secret_key_arn is needed")
        return self

    @model_validator(mode="after")
    def _refuses_weak_secrets(self) -> Self:
        if self.is_local:
            return self
        if self.mail_folder is not None:
            raise ValueError("MAIL_FOLDER is for local mode: mail holds secrets")
        if self.mail_from is not None and not self.public_url.startswith("https://"):
            raise ValueError("MAIL_FROM needs PUBLIC_URL, an https:// address, for the links in mail")
        if self.secret_key is not None:
            refuse_weak_key(self.secret_key.get_secret_value())
        password = urlsplit(self.database_url.get_secret_value()).password
        if password is not None and password.lower() in (*PLACEHOLDER_SECRETS, "postgres"):
            raise ValueError("DATABASE_URL has a placeholder for its password")
        return self

    @model_validator(mode="after")
    def _can_send_what_it_demands(self) -> Self:
        if self.require_verified_email and not self.can_send_mail:
            raise ValueError("REQUIRE_VERIFIED_EMAIL needs MAIL_FROM")
        return self

    @property
    def can_send_mail(self) -> bool:
        """Whether there is a way to send mail."""
        return self.mail_from is not None or self.mail_folder is not None


def aws_environment_keys() -> tuple[str, str, str | None] | None:
    """Return the access key, the secret key and the session token that stand in the environment, as Lambda puts them there.

    None when there are none, or when they say when they die: then they are left to botocore, which renews them. Not a part of the
    settings, because they are read when something is signed: a SnapStart snapshot must not hold them.
    """
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or os.environ.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    return access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN") or None
