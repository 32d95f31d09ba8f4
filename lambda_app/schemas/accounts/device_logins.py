"""Models of device sign-ins (RFC 8628)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lambda_app.models.accounts.device_logins import CLIENT_MAX_LENGTH
from lambda_app.schemas.accounts.sessions import Secret
from lambda_app.schemas.base import RequestModel, ResponseModel, examples
from lambda_app.schemas.text import ONE_LINE, Timestamp


class DeviceLoginStart(RequestModel):
    """What the program calls itself."""

    model_config = examples({"client": "we-upload 0.1 on workstation"}, {"client": "backup script"})

    client: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=CLIENT_MAX_LENGTH), ONE_LINE] = Field(
        description="Name of the program and of its computer, which the user sees before approving."
    )


class StartedDeviceLogin(ResponseModel):
    """A device authorization response (RFC 8628, section 3.2)."""

    device_code: str = Field(repr=False, description="The program's secret, for `/login/device/token`.")
    user_code: str = Field(description="The code that the user compares or types.")
    verification_uri: str = Field(description="Where the user types the code.")
    verification_uri_complete: str = Field(description="The same with the code filled in.")
    expires_in: int = Field(description="Seconds until both codes expire.")
    interval: int = Field(description="Seconds to wait between two requests to `/login/device/token`.")


class DeviceCode(RequestModel):
    """A device code."""

    model_config = examples(
        {"device_code": "Yk3q9vXr0Zc1LdT7wPsN5uHbE8fJmA2gKoQiVxCy4Rt"}, {"device_code": "m8Tn2QxWc5Lr9KzB1vYdH7sJpF4gEoUa6iRyNtCkX3w"}
    )

    device_code: Secret = Field(repr=False, description="The program's secret.")


class DeviceLogin(ResponseModel):
    """A program that waits for approval."""

    user_code: str = Field(description="The code that the program shows.")
    client: str = Field(description="What the program calls itself. It is not verified.")
    source_address: str | None = Field(description="Network address of the program.")
    created_at: Timestamp = Field(description="When the program started the sign-in.")
    expires_at: Timestamp = Field(description="When the code expires.")


class DeviceLoginDecision(RequestModel):
    """The user's decision."""

    model_config = examples({"decision": "approve"}, {"decision": "deny"})

    decision: Literal["approve", "deny"] = Field(description="Whether the program gets a session of the account.")
