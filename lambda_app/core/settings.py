"""Settings, read once from the environment. No other module of the package reads environment variables.

pydantic-settings would do the same but adds 120 ms to every cold start (docs/adr/0003-settings-as-a-pydantic-model.md).
"""

import os
import re
import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from lambda_app.core.brand import require_brand_name, require_logo
from lambda_app.core.colours import require_readable_accent
from lambda_app.core.identity.providers import IdentityProvider, parse_providers, require_consistent
from lambda_app.core.places import require_places

SECRET_KEY_MIN_BYTES = 32
"""HMAC-SHA-256 requires a key at least as long as its output (RFC 7518, section 3.2)."""

PLACEHOLDER_SECRETS = ("changeme", "change-me", "change_me", "changethis", "secret", "placeholder", "example", "password")
"""Substrings of signing keys that were copied from a tutorial."""

DEFAULT_BRAND_NAME = "We-Upload"

PRESIGNED_URL_MAX_SECONDS = 900
"""Longest validity of a presigned URL. The bucket policy rejects older signatures too."""


def validate_secret_key(key: str, *, name: str = "SECRET_KEY") -> None:
    """Raise ValueError when the key in the variable `name` is too short or a placeholder."""
    if len(key.encode()) < SECRET_KEY_MIN_BYTES:
        raise ValueError(f"{name} must have at least {SECRET_KEY_MIN_BYTES} bytes outside local mode")
    if any(word in key.lower() for word in PLACEHOLDER_SECRETS) or len(set(key)) < 8:
        raise ValueError(f"{name} is a placeholder; generate a key with: openssl rand -base64 48")


UNUSED_BUCKET = "unused.invalid"
"""The bucket of a command that uses none. No bucket has this name: `.invalid` is reserved (RFC 2606)."""

UNUSED_DATABASE = "postgresql://unused@unused.invalid/unused?sslmode=verify-full"
"""The database of a function that has none."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class MissingSettingsError(ValueError):
    """Environment variables that a command needs are not set. The message names all of them."""


class Environment(StrEnum):
    """The deployment environment. Only `local` accepts weak secrets and unencrypted connections."""

    LOCAL = "local"
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


class FactorRequirement(StrEnum):
    """Whose accounts must have a second factor."""

    NONE = ""
    SUPERUSERS = "superusers"
    ALL = "all"


def _split_commas(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Settings(BaseModel):
    """All configuration. The environment variable of a field is its name in upper case."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    environment: Environment = Environment.PROD
    """`local` for development and tests; all others require strong secrets and verified TLS."""
    api_v1_str: str = "/api/v1"
    """Path prefix of the versioned API."""
    database_url: SecretStr
    """`postgresql://user:password@host:5432/name?sslmode=verify-full`; see `db/engine`."""
    database_read_host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    """Host, and port if it differs, of a standby that serves reads which may be some seconds old. None: the database serves them."""
    database_iam_auth: bool = False
    """Authenticate to PostgreSQL with an IAM token generated at connect, instead of the password in the URL."""
    database_pool_size: int = Field(default=1, ge=1, le=50)
    """Connections of one process. 1 in Lambda, where requests never overlap."""
    database_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    """Longest wait for one response of the database."""
    database_sign_in_seconds: float | None = Field(default=None, gt=0, le=60)
    """Longest wait for a connection and the sign-in on it. None: `database_timeout_seconds`."""
    database_pauses: bool = False
    """Whether the database pauses when it is idle. A connection that it does not accept in time then means that it is starting."""
    database_secret_arn: str | None = None
    """ARN of the Secrets Manager secret with the database owner's password (JSON, as RDS creates it); used by migrations."""
    database_app_role: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """The database role to which migrations grant the application's privileges."""
    secret_key: SecretStr | None = None
    """HMAC key of the access tokens, at least 32 bytes, or a JSON document of keys (`core/security/keys`)."""
    secret_key_arn: str | None = None
    """ARN of the Secrets Manager secret that replaces `secret_key`; read when the first token is issued or verified."""
    link_key: SecretStr | None = None
    """Key that encrypts the tokens of links for their owners, in the formats of `secret_key`. None: derived from the signing keys."""
    link_key_arn: str | None = None
    """ARN of the Secrets Manager secret that replaces `link_key`."""
    webhook_key_arn: str | None = None
    """ARN of the Secrets Manager secret that encrypts webhook messages in S3, on their way to the function that sends them."""
    log_signing_key: SecretStr | None = None
    """Secret from which the key is derived that signs the audit log's checkpoints, at least 32 bytes. Only the sealer needs it."""
    log_key_arn: str | None = None
    """ARN of the Secrets Manager secret that replaces `log_signing_key`; read when the log is sealed."""
    access_token_expire_minutes: int = Field(default=10, ge=1, le=1440)
    """Lifetime of an access token."""
    refresh_token_expire_days: int = Field(default=14, ge=1, le=90)
    """Days after which a session that was not refreshed expires."""
    mail_from: str | None = None
    """Sender address of our mail; must be a verified SES identity."""
    mail_folder: str | None = None
    """Folder to which mail is written instead of being sent; `local` only."""
    public_url: str = "http://127.0.0.1:8000"
    """Base URL of the links in mail."""
    api_url: str | None = None
    """Public base URL of this API, including the stage; prefix of share links and file requests. None: links have only a path."""
    require_verified_email: bool = False
    """Whether users must verify their e-mail address before they can sign in."""
    require_second_factor: FactorRequirement = FactorRequirement.NONE
    """Whose accounts must have a second factor: `superusers`, `all`, or by default only those for which a superuser requires one."""
    s3_bucket_name: str = Field(min_length=3, max_length=63)
    """The bucket that holds the uploaded objects."""
    checkpoint_bucket_name: str | None = Field(default=None, min_length=3, max_length=63)
    """The bucket of the copies of the audit log's checkpoints. None: the bucket of the uploaded objects."""
    checkpoint_lock_days: int = Field(default=0, ge=0, le=3650)
    """Days for which Object Lock protects each copy. 0: not locked. Needs a bucket of its own that was created with Object Lock."""
    aws_region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """Region of the bucket and of all other AWS resources."""
    aws_endpoint_url: str | None = None
    """Endpoint of an AWS emulator; None: AWS itself."""
    s3_public_endpoint_url: str | None = None
    """S3 endpoint for clients, when it differs from the server's."""
    presigned_url_expiration: int = Field(default=PRESIGNED_URL_MAX_SECONDS, ge=1, le=PRESIGNED_URL_MAX_SECONDS)
    """Seconds for which a presigned URL is valid, at most 900."""
    user_quota_bytes: int = Field(default=100 * 1024**3, ge=0, le=2**62)
    """Storage quota of a user in bytes, unless a superuser sets another one."""
    user_quota_files: int = Field(default=100_000, ge=0, le=2**31 - 1)
    """Quota of a user in number of files, unless a superuser sets another one."""
    user_deletion_bytes: int = Field(default=1024**4, ge=0, le=2**62)
    """Bytes that a user can delete in 30 days; beyond that, new uploads are refused. It bounds the old versions in a versioned bucket."""
    account_deletion_days: int = Field(default=7, ge=0, le=90)
    """Days between the request to delete an account and its deletion, in which it can be cancelled."""
    trash_retention_days: int = Field(default=30, ge=0, le=365)
    """Days for which deleted files can be restored; 0 deletes them immediately."""
    archive_retention_hours: int = Field(default=24, ge=1, le=168)
    """Hours for which a finished zip archive is available."""
    previews_enabled: bool = False
    """Whether a preview worker is deployed: previews are requested from it, and shown."""
    webhook_allow_loopback: bool = False
    """Whether webhooks may have addresses of the own host, also with http. For development only."""
    scans_for_malware: bool = False
    """Whether GuardDuty scans the bucket. The content of new files is then withheld until their scan finds no threat."""
    serves_unscannable: bool = False
    """Whether files that GuardDuty cannot scan are served. For `scans_for_malware` only."""
    open_registration: bool = True
    """Whether anonymous callers may create accounts; superusers always may."""
    password_sign_in: bool = True
    """Whether accounts can sign in with a password of this service. Without it, only identity providers remain."""
    identity_providers: Annotated[tuple[IdentityProvider, ...], BeforeValidator(parse_providers)] = ()
    """OpenID providers with which people can sign in, as a JSON list (`core/identity/providers`)."""
    identity_key: SecretStr | None = None
    """Key of the sign-in with identity providers, at least 32 bytes, or a JSON document of keys: it encrypts the cookie of the flow and
    signs the assertion that leads to a session."""
    identity_key_arn: str | None = None
    """ARN of the Secrets Manager secret that replaces `identity_key`."""
    identity_secrets_arn: str | None = None
    """ARN of the Secrets Manager secret with the client secrets: a JSON object from the id of a provider to its secret."""
    serves_identity_routes: bool = True
    """Whether this process serves `/sign-in/{provider}`, which calls the providers. False in a network without access to them."""
    invitations_by_users: bool = False
    """Whether users may invite addresses to their files, and so to create an account. Superusers always may."""
    backend_cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    """Comma-separated origins whose pages may call the API. Never `*`."""
    origin_key_arns: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    """Comma-separated ARNs of secrets. Each request must carry one of the secrets, which proves that it came through CloudFront."""
    gateway_has_costly_routes: bool = False
    """Whether the gateway has a route of its own for each of `COSTLY_ROUTES`. Requests that reach one of them by the gateway's default
    route then get 404: they spell the path differently to avoid the lower rate limit."""
    web_app_folder: Path | None = None
    """Folder of the built web app (`web/dist`). None: the one inside the Lambda package; without either, the API serves no web app."""
    brand_name: str = DEFAULT_BRAND_NAME
    """Name of the service on its pages and in the web app."""
    default_language: Literal["en", "de"] = "en"
    """Language of mails to accounts without `locale`, and of the pages behind their links if the browser prefers none of the languages."""
    abuse_email: str | None = None
    """Address to which recipients and guests report abuse. None: the pages have no link for it."""
    brand_accent: str | None = None
    """Accent colour, `#rrggbb`, dark enough to be read on a light page. The dark theme derives a lighter one. None: the product's."""
    brand_logo_file: Path | None = None
    """SVG or PNG file of the logo, at most 64 KiB. None: the product's mark."""
    places_file: Path | None = None
    """MaxMind DB file of cities or countries, from which sessions show their place. None: they show only their network."""
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    """Lowest severity that is logged."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environ` (default: the environment of the process).

        An empty variable counts as unset. Raises pydantic's ValidationError, which names the variables but never their values.
        """
        source = os.environ if environ is None else environ
        return cls.model_validate({name: source[name.upper()] for name in cls.model_fields if source.get(name.upper())})

    @classmethod
    def for_command(cls, *, uses_bucket: bool, uses_link_key: bool, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of an operator command, which needs fewer of them than the API.

        An unused signing key is random, so that nothing made with it by mistake is ever valid. Raises MissingSettingsError, and what
        `from_environment` raises.
        """
        source = dict(os.environ if environ is None else environ)
        has_signing_key = bool(source.get("SECRET_KEY") or source.get("SECRET_KEY_ARN"))
        # Links that were encrypted before there was a LINK_KEY are read with a key that is derived from the signing keys.
        needs_signing_key = uses_link_key
        missing = [
            name for name, is_needed in (("DATABASE_URL", True), ("S3_BUCKET_NAME", uses_bucket)) if is_needed and not source.get(name)
        ]
        if needs_signing_key and not has_signing_key:
            missing.append("SECRET_KEY or SECRET_KEY_ARN")
        if missing:
            raise MissingSettingsError(f"Set these environment variables: {', '.join(missing)} (docs/configuration.md)")
        if not source.get("S3_BUCKET_NAME"):
            source["S3_BUCKET_NAME"] = UNUSED_BUCKET
        if not has_signing_key:
            source["SECRET_KEY"] = secrets.token_urlsafe(48)
        return cls.from_environment(source)

    @classmethod
    def without_database(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of a function that has no database. Its signing key is random. Raises what `from_environment` raises."""
        source = dict(os.environ if environ is None else environ)
        return cls.from_environment({**source, "DATABASE_URL": UNUSED_DATABASE, "SECRET_KEY": secrets.token_urlsafe(48)})

    @classmethod
    def for_identity(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of the function that serves `/sign-in/{provider}`, which has no database, no bucket and no signing key."""
        source = dict(os.environ if environ is None else environ)
        unused = {"DATABASE_URL": f"postgresql://{UNUSED_BUCKET}/unused", "S3_BUCKET_NAME": UNUSED_BUCKET}
        return cls.from_environment({**source, **unused, "SECRET_KEY": secrets.token_urlsafe(48), "SECRET_KEY_ARN": ""})

    @property
    def is_local(self) -> bool:
        """Whether the process runs in local development or a test."""
        return self.environment is Environment.LOCAL

    @field_validator("api_v1_str")
    @classmethod
    def _is_a_plain_prefix(cls, value: str) -> str:
        if not value.startswith("/") or value.endswith("/") or "//" in value:
            raise ValueError("must start with a slash and not end with one, for example /api/v1")
        return value

    @field_validator("aws_endpoint_url", "s3_public_endpoint_url", "public_url", "api_url")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https URL, for example https://files.example.com")
        return value.rstrip("/")

    @field_validator("backend_cors_origins")
    @classmethod
    def _names_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or "*" in origin:
                raise ValueError("must be a list of origins such as https://app.example.com, without a path and without *")
        return value

    @field_validator("brand_name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return require_brand_name(value)

    @field_validator("abuse_email")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not _ADDRESS.fullmatch(value):
            raise ValueError("must be an e-mail address such as abuse@example.com")
        return value

    @field_validator("brand_accent")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        return None if value is None else require_readable_accent(value)

    @field_validator("brand_logo_file")
    @classmethod
    def _is_a_small_picture(cls, value: Path | None) -> Path | None:
        return None if value is None else require_logo(value)

    @field_validator("places_file")
    @classmethod
    def _has_places(cls, value: Path | None) -> Path | None:
        return None if value is None else require_places(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_signing_key(self) -> Self:
        if (self.secret_key is None) == (self.secret_key_arn is None):
            raise ValueError("set exactly one of SECRET_KEY and SECRET_KEY_ARN")
        if self.link_key is not None and self.link_key_arn is not None:
            raise ValueError("set only one of LINK_KEY and LINK_KEY_ARN")
        if self.log_signing_key is not None and self.log_key_arn is not None:
            raise ValueError("set only one of LOG_SIGNING_KEY and LOG_KEY_ARN")
        if self.identity_key is not None and self.identity_key_arn is not None:
            raise ValueError("set only one of IDENTITY_KEY and IDENTITY_KEY_ARN")
        return self

    @model_validator(mode="after")
    def _can_lock_checkpoints(self) -> Self:
        if self.checkpoint_lock_days and self.checkpoint_bucket_name in (None, self.s3_bucket_name):
            raise ValueError("CHECKPOINT_LOCK_DAYS requires CHECKPOINT_BUCKET_NAME: a bucket of its own that was created with Object Lock")
        return self

    @model_validator(mode="after")
    def _can_use_its_providers(self) -> Self:
        require_consistent(self.identity_providers, is_local=self.is_local)
        if not self.identity_providers:
            if not self.password_sign_in:
                raise ValueError("PASSWORD_SIGN_IN=false requires IDENTITY_PROVIDERS: without either, users cannot sign in")
            return self
        if self.identity_key is None and self.identity_key_arn is None:
            raise ValueError("IDENTITY_PROVIDERS requires IDENTITY_KEY or IDENTITY_KEY_ARN; generate a key with: openssl rand -base64 48")
        if not self.is_local and not (self.api_url or "").startswith("https://"):
            raise ValueError("IDENTITY_PROVIDERS requires API_URL to be an https:// URL, to which the providers redirect")
        return self

    @model_validator(mode="after")
    def _refuses_weak_secrets(self) -> Self:
        if self.is_local:
            return self
        if self.webhook_allow_loopback:
            raise ValueError("WEBHOOK_ALLOW_LOOPBACK is allowed only in local mode: users could reach services of the host")
        if self.mail_folder is not None:
            raise ValueError("MAIL_FOLDER is allowed only in local mode, because mail contains secrets")
        if self.mail_from is not None and not self.public_url.startswith("https://"):
            raise ValueError("MAIL_FROM requires PUBLIC_URL to be an https:// URL, which the links in mail use")
        if self.secret_key is not None:
            validate_secret_key(self.secret_key.get_secret_value())
        if self.link_key is not None:
            validate_secret_key(self.link_key.get_secret_value(), name="LINK_KEY")
        if self.log_signing_key is not None:
            validate_secret_key(self.log_signing_key.get_secret_value(), name="LOG_SIGNING_KEY")
        if self.identity_key is not None:
            validate_secret_key(self.identity_key.get_secret_value(), name="IDENTITY_KEY")
        password = urlsplit(self.database_url.get_secret_value()).password
        if password is not None and password.lower() in (*PLACEHOLDER_SECRETS, "postgres"):
            raise ValueError("The password in DATABASE_URL is a placeholder; set a strong one")
        return self

    @model_validator(mode="after")
    def _can_send_required_mail(self) -> Self:
        if self.require_verified_email and not self.can_send_mail:
            raise ValueError("REQUIRE_VERIFIED_EMAIL requires MAIL_FROM")
        if self.invitations_by_users and not self.can_send_mail:
            raise ValueError("INVITATIONS_BY_USERS requires MAIL_FROM")
        return self

    def identity_provider(self, provider_id: str) -> IdentityProvider | None:
        """Return the provider with this id; None if there is none."""
        return next((provider for provider in self.identity_providers if provider.id == provider_id), None)

    @property
    def can_send_mail(self) -> bool:
        """Whether a mail sender is configured."""
        return self.mail_from is not None or self.mail_folder is not None


def aws_environment_keys() -> tuple[str, str, str | None] | None:
    """Return access key, secret key and session token from the environment, where Lambda provides them.

    None when they are not set, or when they have an expiry: botocore then handles the refresh. They are not part of Settings, because
    they must be read at the time of signing and must not be stored in a SnapStart snapshot.
    """
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or os.environ.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    return access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or os.environ.get("AWS_SECURITY_TOKEN") or None
