"""Models of accounts and access tokens."""

import re
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from lambda_app.core.security.passwords import PASSWORD_MAX_LENGTH
from lambda_app.models.accounts.users import DISPLAY_NAME_MAX_LENGTH, EMAIL_MAX_LENGTH, LOCALE_MAX_LENGTH, TIME_ZONE_MAX_LENGTH
from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null
from lambda_app.schemas.text import NO_DIRECTION_MARKS, NOT_BLANK, ONE_LINE, Timestamp

_LANGUAGE_TAG = re.compile("[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}")
# Names are not looked up: a Lambda function has no time zone database, and only browsers convert times.
_ZONE_NAME = re.compile("[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")

ONE_TIME_CODE_MAX_LENGTH = 32
PASSWORD_MIN_LENGTH = 8
"""In characters."""


def _refuse_surrogates(value: str) -> str:
    if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("must not contain lone surrogates")
    return value


def normalise_email(value: str) -> str:
    """Return the address as it is stored: valid, NFC, lower case, without white space around it. Raises ValueError for an invalid one."""
    # Checked before the library is called: its Unicode normalisation takes seconds for 100 kB of combining marks.
    if len(value) > EMAIL_MAX_LENGTH:
        raise ValueError(f"must have at most {EMAIL_MAX_LENGTH} characters")
    # Imported here, because the import takes 58 ms and only registration, sign-in and e-mail changes need it.
    from email_validator import validate_email

    # People paste addresses with a trailing space.
    return validate_email(value.strip(), check_deliverability=False).normalized.lower()


Email = Annotated[
    str,
    StringConstraints(strict=True, min_length=3, max_length=EMAIL_MAX_LENGTH),
    ONE_LINE,
    AfterValidator(normalise_email),
]
Password = Annotated[
    str,
    StringConstraints(strict=True, min_length=PASSWORD_MIN_LENGTH, max_length=PASSWORD_MAX_LENGTH),
    AfterValidator(_refuse_surrogates),
]
"""A new password. It is not normalised."""
SubmittedPassword = Annotated[str, StringConstraints(strict=True, max_length=PASSWORD_MAX_LENGTH), AfterValidator(_refuse_surrogates)]
"""A password to compare with the stored one."""


def _language_tag(value: str) -> str:
    if not _LANGUAGE_TAG.fullmatch(value):
        raise ValueError("must be a language tag, such as en or de-AT")
    return value


def _zone_name(value: str) -> str:
    if not _ZONE_NAME.fullmatch(value):
        raise ValueError("must be the IANA name of a time zone, such as Europe/Vienna")
    return value


DisplayName = Annotated[
    str,
    StringConstraints(strict=True, strip_whitespace=True, min_length=1, max_length=DISPLAY_NAME_MAX_LENGTH),
    ONE_LINE,
    NOT_BLANK,
    NO_DIRECTION_MARKS,
]
Locale = Annotated[str, StringConstraints(strict=True, min_length=2, max_length=LOCALE_MAX_LENGTH), AfterValidator(_language_tag)]
TimeZone = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=TIME_ZONE_MAX_LENGTH), AfterValidator(_zone_name)]

OneTimeCode = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ONE_TIME_CODE_MAX_LENGTH), ONE_LINE]
"""Six digits of an authenticator app, or a recovery code. Spaces and hyphens are ignored."""


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Filters of a list of accounts; None means no filter."""

    search: str | None = None
    """Part of the address."""
    is_active: bool | None = None


class UserCreate(RequestModel):
    """A new account."""

    model_config = examples(
        {"email": "ada@example.com", "password": "correct horse battery staple"},
        {"email": "grace@example.com", "password": "a sentence is a good password"},
    )

    email: Email = Field(description="The e-mail address, which is also the name to sign in with.")
    password: Password = Field(repr=False, description="The password. Common ones are refused.")


class UserSelfUpdate(RequestModel):
    """Changes of the user's own account. A new e-mail or password needs the current password; null clears a field of the profile."""

    model_config = examples(
        {"email": "ada@example.org", "current_password": "correct horse battery staple"},
        {"password": "a sentence is a good password", "current_password": "correct horse battery staple"},
    )

    email: Email | None = Field(default=None, description="The new e-mail address.")
    password: Password | None = Field(default=None, repr=False, description="The new password.")
    current_password: SubmittedPassword | None = Field(
        default=None, repr=False, description="The current password of the caller. Required for a new e-mail address, password or role."
    )
    otp: OneTimeCode | None = Field(
        default=None, repr=False, description="With `current_password`, if the caller has a second factor: a code of it."
    )
    display_name: DisplayName | None = Field(default=None, description="Shown to the people with whom the user shares files.")
    locale: Locale | None = Field(default=None, description="Language tag (BCP 47) for pages and mails, such as `de-AT`.")
    time_zone: TimeZone | None = Field(default=None, description="IANA name of the time zone in which times are shown.")
    shows_name_on_links: bool | None = Field(
        default=None, strict=True, description="Whether visitors of the user's share links and file requests see `display_name`."
    )

    _cannot_be_cleared = field_validator("email", "password", "shows_name_on_links", mode="before")(refuse_null)


class UserUpdate(UserSelfUpdate):
    """Changes of an account.

    Only a superuser can change `is_active`, `is_superuser`, `email_verified`, `requires_second_factor` and the quota. A new
    e-mail, password, role or requirement needs the current password of the user who changes the account.
    """

    model_config = examples({"quota_bytes": 1099511627776, "quota_files": None}, {"is_active": False})

    is_active: bool | None = Field(default=None, strict=True, description="Whether the user can sign in. Superusers only.")
    is_superuser: bool | None = Field(default=None, strict=True, description="Whether the user is a superuser. Superusers only.")
    email_verified: bool | None = Field(default=None, strict=True, description="Whether the address is known to belong to the user.")
    requires_second_factor: bool | None = Field(
        default=None, strict=True, description="Whether the account must have a second factor. Superusers only."
    )
    quota_bytes: int | None = Field(default=None, strict=True, ge=0, le=2**62, description="Maximum stored bytes; null means the default.")
    quota_files: int | None = Field(
        default=None, strict=True, ge=0, le=2**31 - 1, description="Maximum number of files; null means the default."
    )

    _cannot_be_null = field_validator("is_active", "is_superuser", "email_verified", "requires_second_factor", mode="before")(refuse_null)


class User(ResponseModel):
    """An account."""

    id: UUID = Field(description="Id of the account.")
    email: str = Field(description="The e-mail address, in lower case.")
    is_active: bool = Field(description="Whether the user can sign in.")
    is_superuser: bool = Field(description="Whether the user is a superuser.")
    email_verified: bool = Field(description="Whether the address is confirmed. Until then, files shared with it stay closed to the user.")
    display_name: str | None = Field(description="The name that the user chose. It is neither unique nor verified.")
    locale: str | None = Field(description="Language tag (BCP 47) for pages and mails; null means the browser's.")
    time_zone: str | None = Field(description="IANA name of the time zone in which times are shown; null means the browser's.")
    has_second_factor: bool = Field(description="Whether a sign-in needs a one-time code.")
    requires_second_factor: bool = Field(
        description="Whether a superuser requires a second factor for this account. The server may require one of others too."
    )
    shows_name_on_links: bool = Field(description="Whether visitors of the user's share links and file requests see `display_name`.")
    deletion_at: Timestamp | None = Field(description="When the account is deleted with everything in it; null unless that was requested.")
    created_at: Timestamp = Field(description="When it was created.")
    updated_at: Timestamp = Field(description="When it was last changed.")


class Token(ResponseModel):
    """A bearer token (RFC 6750), and the refresh token to exchange for the next pair. `expires_in` is in seconds."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: str = Field(default="bearer", description="Always `bearer`.")
    expires_in: int = Field(description="Seconds until the access token expires.")
    refresh_token: str = Field(repr=False, description="Exchange it for the next pair of tokens. It can be used once.")
