"""Models of share links."""

import re
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from lambda_app.core.security.passwords import PASSWORD_MAX_LENGTH
from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.sharing.shares import NOTE_MAX_LENGTH, SLUG_MAX_LENGTH, ShareAudience
from lambda_app.schemas.accounts.users import OneTimeCode, SubmittedPassword, normalise_email
from lambda_app.schemas.base import RequestModel, ResponseModel, refuse_null
from lambda_app.schemas.text import ONE_LINE, SEVERAL_LINES, Instant, Timestamp

T = TypeVar("T")

FILES_PER_SHARE = 100
RECIPIENTS_PER_SHARE = 100
SLUG_MIN_LENGTH = 3
TOKEN_LENGTH = 22
"""Length of a random token, in characters. Slugs of this length are refused, so that tokens and slugs can be told apart."""
SHARE_PASSWORD_MIN_LENGTH = 4
"""Shorter than for accounts, because attempts are throttled and the link itself is a secret."""
MAX_DOWNLOADS_LIMIT = 2**31 - 1
LAST_YEAR = 9000
"""Limit for expiry dates: near the year 9999, conversion between time zones overflows."""

RESERVED_SLUGS = frozenset(
    {
        "account",
        "admin",
        "administrator",
        "api",
        "app",
        "billing",
        "download",
        "files",
        "health",
        "help",
        "home",
        "login",
        "logout",
        "password",
    }
    | {
        "official",
        "public",
        "register",
        "root",
        "security",
        "settings",
        "share",
        "shares",
        "sign-in",
        "signin",
        "sign-up",
        "signup",
        "status",
    }
    | {"support", "system", "upload", "user", "users", "verify", "we-upload", "www"}
)
"""Slugs that visitors could mistake for a page of the platform."""

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def is_slug(text: str) -> bool:
    """Return whether the text has the form of a slug."""
    return SLUG_MIN_LENGTH <= len(text) <= SLUG_MAX_LENGTH and len(text) != TOKEN_LENGTH and _SLUG.fullmatch(text) is not None


def canonical_address(text: str) -> str:
    """Return the address of a link as it is stored: slugs in lower case, because people type them. Tokens keep their case."""
    lowered = text.lower()
    return lowered if text.isascii() and is_slug(lowered) else text


def _checked_slug(value: str) -> str:
    if not is_slug(value):
        raise ValueError(
            "must contain only a-z, 0-9 and single hyphens between them, "
            f"and must have {SLUG_MIN_LENGTH} to {SLUG_MAX_LENGTH} characters, but not {TOKEN_LENGTH}"
        )
    if value in RESERVED_SLUGS:
        raise ValueError("is reserved")
    return value


def _normalise_recipient(value: str) -> str:
    try:
        return str(UUID(value.strip()))
    except ValueError:
        return normalise_email(value)


def _refuse_far_future(value: datetime) -> datetime:
    if not 1 < value.year < LAST_YEAR:
        raise ValueError(f"must be between the years 2 and {LAST_YEAR - 1}")
    return value


def _once_each(values: list[T]) -> list[T]:
    return list(dict.fromkeys(values))


LinkAddress = Annotated[str, AfterValidator(canonical_address)]
"""The last segment of a link's URL: a token or a slug."""
Slug = Annotated[str, StringConstraints(strict=True, max_length=SLUG_MAX_LENGTH), AfterValidator(_checked_slug)]
Recipient = Annotated[
    str,
    StringConstraints(strict=True, min_length=3, max_length=EMAIL_MAX_LENGTH),
    ONE_LINE,
    AfterValidator(_normalise_recipient),
]
Recipients = Annotated[list[Recipient], Field(max_length=RECIPIENTS_PER_SHARE), AfterValidator(_once_each)]
Expiry = Annotated[Instant, AfterValidator(_refuse_far_future)]
Note = Annotated[str, StringConstraints(strict=True, max_length=NOTE_MAX_LENGTH), SEVERAL_LINES]
MaxDownloads = Annotated[int, Field(strict=True, ge=1, le=MAX_DOWNLOADS_LIMIT)]
SharePassword = Annotated[SubmittedPassword, StringConstraints(min_length=SHARE_PASSWORD_MIN_LENGTH, max_length=PASSWORD_MAX_LENGTH)]


class ShareOptions(RequestModel):
    """The rules of a new share link."""

    slug: Slug | None = Field(default=None, description="A chosen address instead of a random token. It can be guessed.")
    password: SharePassword | None = Field(default=None, repr=False)
    expires_at: Expiry | None = Field(default=None, description="With a time zone, for example 2026-01-31T12:00:00Z.")
    max_downloads: MaxDownloads | None = Field(default=None, description="Maximum number of downloads, over all files.")
    audience: ShareAudience = ShareAudience.ANYONE
    recipients: Recipients = Field(default=[], description="E-mail addresses or ids of users, for the audience `named`.")
    allows_download: bool = Field(default=True, strict=True, description="If false, visitors see only names and sizes.")
    note: Note | None = Field(default=None, description="Shown to the visitors of the link.")

    @model_validator(mode="after")
    def _recipients_match_audience(self) -> "ShareOptions":
        if (self.audience is ShareAudience.NAMED) != bool(self.recipients):
            raise ValueError("the audience `named` needs at least one recipient; other audiences must not have recipients")
        return self


class ShareCreate(ShareOptions):
    """A new share link to several files."""

    file_ids: Annotated[list[UUID], Field(min_length=1, max_length=FILES_PER_SHARE), AfterValidator(_once_each)]


class ShareUpdate(RequestModel):
    """Changes of a share link. Omitted fields are not changed; null removes a limit."""

    password: SharePassword | None = Field(default=None, repr=False)
    expires_at: Expiry | None = None
    max_downloads: MaxDownloads | None = None
    audience: ShareAudience | None = None
    recipients: Recipients | None = None
    allows_download: bool | None = Field(default=None, strict=True)
    note: Note | None = None

    _cannot_be_cleared = field_validator("audience", "recipients", "allows_download", mode="before")(refuse_null)


class Share(ResponseModel):
    """A share link."""

    id: UUID
    url: str | None = Field(
        repr=False,
        description="Only for the owner of the link. Null if it is revoked, or if the server cannot read the address any more: "
        "`POST …/rotate` gives a new one.",
    )
    slug: str | None
    file_ids: list[UUID]
    has_password: bool
    expires_at: Timestamp | None
    max_downloads: int | None
    download_count: int
    open_count: int
    last_opened_at: Timestamp | None
    audience: ShareAudience
    recipients: list[str]
    pending_recipients: list[str] = Field(description="Recipients whose account has not confirmed the address yet. They have no access.")
    allows_download: bool
    note: str | None
    owner_id: UUID
    created_at: Timestamp
    updated_at: Timestamp
    revoked_at: Timestamp | None


class LinkedFile(ResponseModel):
    """A file of a share link."""

    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    download_url: str | None
    """Relative to the host; null if the link does not allow downloads."""


class OpenedShare(ResponseModel):
    """A share link, for its visitors."""

    files: list[LinkedFile]
    sender_name: str | None = Field(description="Name of the person who shared the files, if that person shows it. It is not verified.")
    note: str | None
    expires_at: Timestamp | None
    downloads_left: int | None
    allows_download: bool


class ShareCredentials(RequestModel):
    """The password of a share link, or the e-mail and password of an account."""

    password: SubmittedPassword | None = Field(default=None, repr=False)
    email: Annotated[str, StringConstraints(strict=True, max_length=EMAIL_MAX_LENGTH), ONE_LINE] | None = None
    account_password: SubmittedPassword | None = Field(default=None, repr=False)
    otp: OneTimeCode | None = Field(default=None, repr=False)
    """With the credentials of an account that has a second factor."""

    @model_validator(mode="after")
    def _has_one_credential(self) -> "ShareCredentials":
        is_account = self.email is not None and self.account_password is not None
        if is_account == (self.password is not None) or (self.email is None) != (self.account_password is None):
            raise ValueError("send either password, or email and account_password")
        return self


class LinkDownload(ResponseModel):
    """A download of a share link: a URL that is valid for one minute."""

    download_url: str = Field(repr=False)
    expires_at: Timestamp


class UnlockedShare(ResponseModel):
    """The share token to send as `X-Share-Pass` with each further request to the link."""

    share_pass: str = Field(repr=False)
    expires_at: Timestamp
