"""Settings, read once from the environment; nothing else in the package reads it.

pydantic-settings would do the same and costs 120 ms of every cold start (docs/adr/0003-settings-without-pydantic-settings.md).
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
    secret_key: SecretStr = SecretStr("")
    """Key of the access tokens' HMAC, at least 32 bytes."""
    secret_key_arn: str | None = None
    """The Secrets Manager secret that holds the key instead; it is read when the first token is."""
    access_token_expire_minutes: int = Field(default=10, ge=1, le=1440)
    """Life of an access token."""
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
    open_registration: bool = True
    """Whether anyone may create an account; a superuser always may."""
    backend_cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    """Origins, separated by commas, whose pages may call the API. Never `*`."""
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

    @field_validator("aws_endpoint_url", "s3_public_endpoint_url")
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
    def _refuses_weak_secrets(self) -> Self:
        key = self.secret_key.get_secret_value()
        if self.secret_key_arn:
            if key:
                raise ValueError("SECRET_KEY and SECRET_KEY_ARN are both set; keep one")
        elif not key:
            raise ValueError("secret_key (or secret_key_arn) must be set")
        elif not self.is_local:
            refuse_weak_key(key)
        password = urlsplit(self.database_url.get_secret_value()).password
        if not self.is_local and password is not None and password.lower() in (*PLACEHOLDER_SECRETS, "postgres"):
            raise ValueError("DATABASE_URL has a placeholder for its password")
        return self
