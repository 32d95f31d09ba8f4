"""Shapes of sessions and of what is sent to sign in, out and back in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from lambda_app.schemas.accounts.users import Email, Password
from lambda_app.schemas.base import RequestModel, ResponseModel
from lambda_app.schemas.text import ONE_LINE

SECRET_MAX_LENGTH = 128
"""Ours have 43 characters."""

Secret = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=SECRET_MAX_LENGTH), ONE_LINE]


class Refresh(RequestModel):
    """A refresh token; it is good once."""

    refresh_token: Secret = Field(repr=False)


class EmailOnly(RequestModel):
    """The address that mail is asked for."""

    email: Email


class MailedToken(RequestModel):
    """The token of a mail's link."""

    token: Secret = Field(repr=False)


class PasswordReset(MailedToken):
    """The token of a mail's link, and the new password."""

    password: Password = Field(repr=False)


class Session(ResponseModel):
    """One sign-in. `is_current` tells the one that asks."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    source_address: str | None
    user_agent: str | None
    is_current: bool
