"""Models of sessions, refresh tokens and mail tokens."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.schemas.accounts.users import Email, OneTimeCode, Password, SubmittedPassword
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import ONE_LINE, Timestamp

SECRET_MAX_LENGTH = 128
"""In characters. The tokens that the API issues have 43."""

Secret = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=SECRET_MAX_LENGTH), ONE_LINE]


class Refresh(RequestModel):
    """A refresh token, which is exchanged for its successor."""

    model_config = examples(
        {"refresh_token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt"}, {"refresh_token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w"}
    )

    refresh_token: Secret = Field(repr=False, description="The refresh token of the session.")


class SignIn(RequestModel):
    """An e-mail address and a password. A malformed address is refused like a wrong password, as at `/login/token`."""

    model_config = examples(
        {"email": "ada@example.com", "password": "correct horse battery staple"},
        {"email": "grace@example.com", "password": "a sentence is a good password"},
    )

    email: Annotated[str, StringConstraints(strict=True, max_length=EMAIL_MAX_LENGTH), ONE_LINE] = Field(
        description="The e-mail address of the account."
    )
    password: SubmittedPassword = Field(repr=False, description="The password of the account.")
    otp: OneTimeCode | None = Field(
        default=None, repr=False, description="For accounts with a second factor: code of the authenticator app, or a recovery code."
    )
    keep_account: bool = Field(default=False, strict=True, description="Cancel the deletion of the account that its owner requested.")


class BrowserSession(ResponseModel):
    """A bearer token (RFC 6750) of a browser's session. `expires_in` is in seconds. The refresh token is in a cookie."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: str = Field(default="bearer", description="Always `bearer`.")
    expires_in: int = Field(description="Seconds until the access token expires.")
    expires_at: Timestamp = Field(description="When the access token expires.")


class EmailOnly(RequestModel):
    """The e-mail address to send a mail to."""

    model_config = examples({"email": "ada@example.com"}, {"email": "grace@example.com"})

    email: Email = Field(description="The e-mail address of the account.")


class MailedToken(RequestModel):
    """The token from the link in a mail."""

    token: Secret = Field(repr=False, description="The token from the link in the mail.")


class MailRequested(ResponseModel):
    """The answer to a request for a mail. It is the same whether or not the address belongs to an account."""

    detail: str = Field(description="A sentence for the user.")


class PasswordReset(MailedToken):
    """The token from the link in a mail, and the new password."""

    model_config = examples(
        {"token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt", "password": "correct horse battery staple"},
        {"token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w", "password": "a sentence is a good password"},
    )

    password: Password = Field(repr=False, description="The new password.")


class EmailConfirmation(MailedToken):
    """The token from the link in a mail, and the password of the account: the current one or a new one."""

    model_config = examples(
        {"token": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt"},
        {"token": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w", "password": "correct horse battery staple"},
    )

    password: Password | None = Field(
        default=None,
        repr=False,
        description="The current password of the account, or a new one. Not needed with the access token of the account.",
    )


class Session(ResponseModel):
    """A session. `is_current` marks the session of this request."""

    id: UUID = Field(description="Id of the session, with which it is ended.")
    created_at: Timestamp = Field(description="When the user signed in.")
    last_used_at: Timestamp = Field(description="When the session was last refreshed.")
    expires_at: Timestamp = Field(description="When the session ends.")
    source_address: str | None = Field(description="Network address of the sign-in.")
    network: str | None = Field(description="The network of that address as a prefix, such as `203.0.113.0/24`.")
    place: str | None = Field(
        description="City and country of that address, or the country alone, such as `Vienna, Austria`: an estimate from the network, in "
        "the language of the caller. Null if it is not known, or the server has no database of places."
    )
    user_agent: str | None = Field(description="Program that signed in, as it named itself.")
    browser: str | None = Field(description="Browser or program that `user_agent` names, such as `Firefox`; null if it is not known.")
    system: str | None = Field(description="Operating system that `user_agent` names, such as `Windows`; null if it is not known.")
    is_current: bool = Field(description="Whether this is the session of the request.")
