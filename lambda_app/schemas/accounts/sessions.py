"""Models of sessions, refresh tokens and mail tokens."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.schemas.accounts.users import Email, OneTimeCode, Password, SubmittedPassword
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.text import ONE_LINE, Timestamp

SECRET_MAX_LENGTH = 128
"""In characters. The tokens that the API issues have 43."""

Secret = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=SECRET_MAX_LENGTH), ONE_LINE]


class Refresh(RequestModel):
    """A refresh token, which is exchanged for its successor."""

    refresh_token: Secret = Field(repr=False)


class SignIn(RequestModel):
    """An e-mail address and a password. A malformed address is refused like a wrong password, as at `/login/token`."""

    email: Annotated[str, StringConstraints(strict=True, max_length=EMAIL_MAX_LENGTH), ONE_LINE]
    password: SubmittedPassword = Field(repr=False)
    otp: OneTimeCode | None = Field(
        default=None, repr=False, description="For accounts with a second factor: code of the authenticator app, or a recovery code."
    )
    keep_account: bool = Field(default=False, strict=True, description="Cancel the deletion of the account that its owner requested.")


class BrowserSession(ResponseModel):
    """A bearer token (RFC 6750) of a browser's session. `expires_in` is in seconds. The refresh token is in a cookie."""

    access_token: str
    token_type: str = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int
    expires_at: Timestamp


class EmailOnly(RequestModel):
    """The e-mail address to send a mail to."""

    email: Email


class MailedToken(RequestModel):
    """The token from the link in a mail."""

    token: Secret = Field(repr=False)


class MailRequested(ResponseModel):
    """The answer to a request for a mail. It is the same whether or not the address belongs to an account."""

    detail: str


class PasswordReset(MailedToken):
    """The token from the link in a mail, and the new password."""

    password: Password = Field(repr=False)


class EmailConfirmation(MailedToken):
    """The token from the link in a mail, and the password of the account: the current one or a new one."""

    password: Password | None = Field(default=None, repr=False)


class Session(ResponseModel):
    """A session. `is_current` marks the session of this request."""

    id: UUID
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    source_address: str | None
    user_agent: str | None
    is_current: bool
