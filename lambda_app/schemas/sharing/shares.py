"""Models of share links."""

import re
from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from lambda_app.core.security.passwords import PASSWORD_MAX_LENGTH
from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.models.files.files import ScanStatus
from lambda_app.models.sharing.shares import NOTE_MAX_LENGTH, SHARE_TITLE_MAX_LENGTH, SLUG_MAX_LENGTH, ShareAudience
from lambda_app.schemas.accounts.users import Email, OneTimeCode, SubmittedPassword, normalise_email
from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null
from lambda_app.schemas.text import NOT_BLANK, ONE_LINE, SEVERAL_LINES, Instant, Timestamp

T = TypeVar("T")

FILES_PER_SHARE = 100
RECIPIENTS_PER_SHARE = 100
MAIL_RECIPIENTS_MAX = 20
"""Recipients of one request to mail a link."""
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
FileIds = Annotated[list[UUID], Field(min_length=1, max_length=FILES_PER_SHARE), AfterValidator(_once_each)]
Expiry = Annotated[Instant, AfterValidator(_refuse_far_future)]
Title = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=SHARE_TITLE_MAX_LENGTH), ONE_LINE, NOT_BLANK]
Note = Annotated[str, StringConstraints(strict=True, max_length=NOTE_MAX_LENGTH), SEVERAL_LINES]
MaxDownloads = Annotated[int, Field(strict=True, ge=1, le=MAX_DOWNLOADS_LIMIT)]
SharePassword = Annotated[SubmittedPassword, StringConstraints(min_length=SHARE_PASSWORD_MIN_LENGTH, max_length=PASSWORD_MAX_LENGTH)]


class ShareOptions(RequestModel):
    """The rules of a new share link."""

    model_config = examples(
        {"expires_at": "2030-01-31T12:00:00Z"}, {"password": "blue bicycle", "max_downloads": 5, "note": "The final version"}
    )

    slug: Slug | None = Field(default=None, description="A chosen address instead of a random token. It can be guessed.")
    password: SharePassword | None = Field(default=None, repr=False, description="A password that visitors must send.")
    expires_at: Expiry | None = Field(default=None, description="With a time zone, for example 2026-01-31T12:00:00Z.")
    max_downloads: MaxDownloads | None = Field(default=None, description="Maximum number of downloads, over all files.")
    audience: ShareAudience = Field(
        default=ShareAudience.ANYONE, description="Who can open the link: `anyone`, any signed-in user, or the `named` recipients."
    )
    recipients: Recipients = Field(default=[], description="E-mail addresses or ids of users, for the audience `named`.")
    allows_download: bool = Field(default=True, strict=True, description="If false, visitors see only names and sizes.")
    title: Title | None = Field(default=None, description="A heading for visitors and for the list of links.")
    note: Note | None = Field(default=None, description="Shown to the visitors of the link.")
    notify_on_download: bool | None = Field(
        default=None,
        strict=True,
        description="Whether the owner gets a mail about downloads; by default the setting `link_downloads` of the account decides.",
    )

    @model_validator(mode="after")
    def _recipients_match_audience(self) -> "ShareOptions":
        if (self.audience is ShareAudience.NAMED) != bool(self.recipients):
            raise ValueError("the audience `named` needs at least one recipient; other audiences must not have recipients")
        return self


class ShareCreate(ShareOptions):
    """A new share link to several files."""

    model_config = examples(
        {"file_ids": ["0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10", "5d1f0a4c-93be-4f6e-8c1d-7e2a9b3c4d5e"]},
        {
            "file_ids": ["0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10"],
            "audience": "named",
            "recipients": ["grace@example.com"],
            "expires_at": "2030-01-31T12:00:00Z",
        },
    )

    file_ids: FileIds = Field(description="The files of the link.")


class LinkFiles(RequestModel):
    """Files to add to a share link."""

    model_config = examples(
        {"file_ids": ["5d1f0a4c-93be-4f6e-8c1d-7e2a9b3c4d5e"]},
        {"file_ids": ["0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10", "7a1c2b3d-4e5f-4061-8273-849aabbccdde"]},
    )

    file_ids: FileIds = Field(description="The files to add, behind those that the link has. A file that it has keeps its place.")


class ShareMail(RequestModel):
    """Who receives the address of a share link by mail."""

    model_config = examples(
        {"addresses": ["grace@example.com"]}, {"addresses": ["grace@example.com", "alan@example.com"], "message": "As promised."}
    )

    addresses: Annotated[list[Email], Field(min_length=1, max_length=MAIL_RECIPIENTS_MAX), AfterValidator(_once_each)] = Field(
        description="The recipients. They need no account."
    )
    message: Note | None = Field(default=None, description="A text for the recipients. The mail quotes it.")


class ShareUpdate(RequestModel):
    """Changes of a share link. Omitted fields are not changed; null removes a limit."""

    model_config = examples({"max_downloads": 10}, {"password": None, "expires_at": "2030-01-31T12:00:00Z"})

    password: SharePassword | None = Field(default=None, repr=False, description="The new password; null removes it.")
    expires_at: Expiry | None = Field(default=None, description="When the link stops working; null means never.")
    max_downloads: MaxDownloads | None = Field(
        default=None, description="Maximum number of downloads, over all files; null means no limit."
    )
    audience: ShareAudience | None = Field(default=None, description="Who can open the link.")
    recipients: Recipients | None = Field(default=None, description="E-mail addresses or ids of users, for the audience `named`.")
    allows_download: bool | None = Field(default=None, strict=True, description="If false, visitors see only names and sizes.")
    title: Title | None = Field(default=None, description="The new heading; null removes it.")
    note: Note | None = Field(default=None, description="The new text for visitors; null removes it.")
    notify_on_download: bool | None = Field(default=None, strict=True, description="Whether the owner gets a mail about downloads.")

    _cannot_be_cleared = field_validator("audience", "recipients", "allows_download", "notify_on_download", mode="before")(refuse_null)


class Share(ResponseModel):
    """A share link."""

    id: UUID = Field(description="Id of the link.")
    url: str | None = Field(
        repr=False,
        description="Only for the owner of the link. Null if it is revoked, or if the server cannot read the address any more: "
        "`POST …/rotate` gives a new one.",
    )
    slug: str | None = Field(description="The chosen address; null for a random token.")
    title: str | None = Field(description="A heading for visitors and for the list of links.")
    file_ids: list[UUID] = Field(description="The files of the link.")
    file_count: int = Field(description="Number of files that the link opens now: not of those in the trash.")
    size_bytes: int = Field(description="Size of these files together.")
    first_filenames: list[str] = Field(description="Names of the first three of these files.")
    has_password: bool = Field(description="Whether visitors must send a password.")
    expires_at: Timestamp | None = Field(description="When the link stops working; null means never.")
    max_downloads: int | None = Field(description="Maximum number of downloads, over all files; null means no limit.")
    download_count: int = Field(description="How many downloads were counted.")
    open_count: int = Field(description="How often the link was opened.")
    last_opened_at: Timestamp | None = Field(description="When the link was last opened; null if never.")
    audience: ShareAudience = Field(description="Who can open the link.")
    recipients: list[str] = Field(description="Recipients of a link for named users: their e-mail addresses or ids.")
    pending_recipients: list[str] = Field(description="Recipients whose account has not confirmed the address yet. They have no access.")
    allows_download: bool = Field(description="If false, visitors see only names and sizes.")
    note: str | None = Field(description="A text for visitors.")
    notify_on_download: bool = Field(description="Whether the owner gets a mail about downloads.")
    owner_id: UUID = Field(description="The user who created the link.")
    created_at: Timestamp = Field(description="When it was created.")
    updated_at: Timestamp = Field(description="When it was last changed.")
    revoked_at: Timestamp | None = Field(description="When the link was revoked; null if it was not.")


class LinkedFile(ResponseModel):
    """A file of a share link."""

    id: UUID = Field(description="Id of the file.")
    filename: str = Field(description="Name of the file.")
    content_type: str = Field(description="The declared media type.")
    size_bytes: int = Field(description="Size of the content.")
    scan_status: ScanStatus = Field(description="Result of the malware scan, as for files.")
    is_withheld: bool = Field(description="Whether the content cannot be downloaded because of the malware scan.")
    download_url: str | None = Field(
        description="Relative to the host; null if the link does not allow downloads, or if the malware scan withholds the file."
    )


class OpenedShare(ResponseModel):
    """A share link, for its visitors."""

    files: list[LinkedFile] = Field(description="The files of the link.")
    sender_name: str | None = Field(description="Name of the person who shared the files, if that person shows it. It is not verified.")
    title: str | None = Field(description="The heading that the owner chose.")
    note: str | None = Field(description="A text of the owner.")
    expires_at: Timestamp | None = Field(description="When the link stops working; null means never.")
    downloads_left: int | None = Field(description="Downloads that are left; null means no limit.")
    allows_download: bool = Field(description="If false, the files cannot be downloaded.")


class ShareCredentials(RequestModel):
    """The password of a share link, or the e-mail and password of an account."""

    model_config = examples({"password": "blue bicycle"}, {"email": "ada@example.com", "account_password": "correct horse battery staple"})

    password: SubmittedPassword | None = Field(default=None, repr=False, description="The password of the link.")
    email: Annotated[str, StringConstraints(strict=True, max_length=EMAIL_MAX_LENGTH), ONE_LINE] | None = Field(
        default=None, description="The e-mail address of an account, for links for signed-in users."
    )
    account_password: SubmittedPassword | None = Field(default=None, repr=False, description="The password of that account.")
    otp: OneTimeCode | None = Field(
        default=None, repr=False, description="With the credentials of an account that has a second factor: a code of it."
    )
    sign_in: Literal["provider"] | None = Field(
        default=None, description="`provider`: the form of the page, after a sign-in at a provider. The browser has its proof in a cookie."
    )

    @model_validator(mode="after")
    def _has_one_credential(self) -> "ShareCredentials":
        is_account = self.email is not None and self.account_password is not None
        given = (is_account, self.password is not None, self.sign_in is not None)
        if sum(given) != 1 or (self.email is None) != (self.account_password is None):
            raise ValueError("send either password, or email and account_password")
        return self


class LinkDownload(ResponseModel):
    """A download of a share link: a URL that is valid for one minute."""

    download_url: str = Field(repr=False, description="The presigned URL of the content.")
    expires_at: Timestamp = Field(description="Until when the URL is valid.")


class UnlockedShare(ResponseModel):
    """The share token to send as `X-Share-Pass` with each further request to the link."""

    share_pass: str = Field(repr=False, description="Send it as `X-Share-Pass`.")
    expires_at: Timestamp = Field(description="Until when it is valid.")
