"""Models of sessions, refresh tokens and mail tokens."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from lambda_app.schemas.accounts.users import Email, Password
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.text import ONE_LINE

SECRET_MAX_LENGTH = 128
"""In characters. The tokens that the API issues have 43."""

Secret = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=SECRET_MAX_LENGTH), ONE_LINE]


class Refresh(RequestModel):
    """A refresh token. It can be used once."""

    refresh_token: Secret = Field(repr=False)


class EmailOnly(RequestModel):
    """The e-mail address to send a mail to."""

    email: Email


class MailedToken(RequestModel):
    """The token from the link in a mail."""

    token: Secret = Field(repr=False)


class PasswordReset(MailedToken):
    """The token from the link in a mail, and the new password."""

    password: Password = Field(repr=False)


class EmailConfirmation(MailedToken):
    """The token from the link in a mail, and the password of the account: the current one or a new one."""

    password: Password | None = Field(default=None, repr=False)


class Session(ResponseModel):
    """A session. `is_current` marks the session of this request."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    source_address: str | None
    user_agent: str | None
    is_current: bool
