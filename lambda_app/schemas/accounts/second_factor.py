"""Models of the second factor."""

from pydantic import Field

from lambda_app.schemas.accounts.users import OneTimeCode, SubmittedPassword
from lambda_app.schemas.base import RequestModel, ResponseModel, examples


class PasswordProof(RequestModel):
    """The current password of the caller. Not needed within five minutes after `POST /users/me/proof` in the same session."""

    model_config = examples({"current_password": "correct horse battery staple"}, {"current_password": "a sentence is a good password"})

    current_password: SubmittedPassword | None = Field(default=None, repr=False, description="The current password of the caller.")


class FactorProof(PasswordProof):
    """The current password of the caller, and a one-time code."""

    model_config = examples(
        {"current_password": "correct horse battery staple", "otp": "492039"},
        {"current_password": "correct horse battery staple", "otp": "k3vq-8xpt-2mzd"},
    )

    otp: OneTimeCode = Field(repr=False, description="Code of the authenticator app, or a recovery code.")


class AccountProof(PasswordProof):
    """The current password of the caller, and a one-time code if the caller has a second factor."""

    model_config = examples(
        {"current_password": "correct horse battery staple"}, {"current_password": "correct horse battery staple", "otp": "492039"}
    )

    otp: OneTimeCode | None = Field(default=None, repr=False, description="A code of the caller's own second factor, if there is one.")


class CodeProof(RequestModel):
    """A one-time code."""

    model_config = examples({"otp": "492039"}, {"otp": "118027"})

    otp: OneTimeCode = Field(repr=False, description="Code of the authenticator app.")


class FactorSetup(ResponseModel):
    """The secret to store in an authenticator app. The second factor is off until a code confirms it."""

    secret: str = Field(repr=False, description="The secret in Base32, to type into an authenticator app.")
    uri: str = Field(repr=False, description="The `otpauth` URI with the secret.")
    qr_code: str = Field(repr=False, description="The URI as a QR code: an SVG document.")


class RecoveryCodes(ResponseModel):
    """Codes that replace the authenticator app, each once. They appear in this response only."""

    recovery_codes: list[str] = Field(repr=False, description="Ten codes. Each is valid once.")
