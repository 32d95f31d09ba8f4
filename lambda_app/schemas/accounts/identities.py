"""Models of the sign-in with identity providers."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from lambda_app.core.identity.assertions import ASSERTION_MAX_LENGTH
from lambda_app.schemas.accounts.users import OneTimeCode, SubmittedPassword
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import ONE_LINE, Timestamp

SubmittedAssertion = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=ASSERTION_MAX_LENGTH), ONE_LINE]

# No JSON Web Token, so that secret scanners do not report it.
_EXAMPLE, _OTHER_EXAMPLE = "header.claims.signature", "header.other-claims.signature"


class AssertionSignIn(RequestModel):
    """The assertion with which the browser came back from a sign-in provider."""

    model_config = examples({"assertion": _EXAMPLE}, {"assertion": _OTHER_EXAMPLE, "otp": "492039"})

    assertion: SubmittedAssertion = Field(repr=False, description="From the fragment of the address. Valid once, for a minute.")
    otp: OneTimeCode | None = Field(
        default=None,
        repr=False,
        description="For accounts with a second factor: code of the authenticator app, or a recovery code. The assertion is then valid for "
        "five minutes.",
    )
    keep_account: bool = Field(default=False, strict=True, description="Cancel the deletion of the account that its owner requested.")


class IdentityLink(RequestModel):
    """An assertion for linking an identity."""

    model_config = examples({"assertion": _EXAMPLE}, {"assertion": _OTHER_EXAMPLE})

    assertion: SubmittedAssertion = Field(repr=False, description="From a sign-in that was started with `purpose=link`.")


class UserProof(RequestModel):
    """A proof of the user: the password, or an assertion; and a code, if the account has a second factor."""

    model_config = examples({"current_password": "correct horse battery staple", "otp": "492039"}, {"assertion": _EXAMPLE})

    current_password: SubmittedPassword | None = Field(default=None, repr=False, description="The current password of the caller.")
    assertion: SubmittedAssertion | None = Field(
        default=None, repr=False, description="Instead of the password: from a sign-in that was started with `purpose=proof`."
    )
    otp: OneTimeCode | None = Field(default=None, repr=False, description="A code of the caller's second factor, if there is one.")


class LinkedIdentity(ResponseModel):
    """A person at a sign-in provider who can sign in to the account."""

    id: UUID = Field(description="Id of the link.")
    provider: str = Field(description="Id of the provider, as in `GET /config`.")
    email: str | None = Field(description="Address at the provider at the last sign-in; null if the provider does not tell it.")
    created_at: Timestamp = Field(description="When it was linked.")
    last_used_at: Timestamp | None = Field(description="When it was last used to sign in.")


class SignInMethods(ResponseModel):
    """The ways to sign in to the account."""

    has_password: bool = Field(description="Whether the account has a password.")
    identities: list[LinkedIdentity] = Field(description="The linked identities, oldest first; at most 20.")
