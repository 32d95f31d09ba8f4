"""Routes of device sign-in (RFC 8628): a program without a browser signs in with the consent of a user at a browser."""

from typing import Annotated

from fastapi import Path, Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import DeviceLoginsDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.accounts.device_logins import DeviceCode, DeviceLogin, DeviceLoginDecision, DeviceLoginStart, StartedDeviceLogin
from lambda_app.schemas.accounts.users import Token
from lambda_app.services.accounts.device_logins import LIFETIME, POLL_SECONDS

UserCode = Annotated[str, Path(min_length=8, max_length=20, description="The code that the program shows.")]

router = Router(tags=["credentials"])


@router.post("/login/device", response_model=StartedDeviceLogin, responses=problem_responses("too_many_device_logins"))
def start_device_login(
    parameters: DeviceLoginStart, device_logins: DeviceLoginsDep, public_url: PublicUrlDep, response: Response
) -> StartedDeviceLogin:
    """Start a sign-in that a user approves at a browser. Show the user the code and the address, then ask `/login/device/token`."""
    started = device_logins.start(parameters.client)
    response.headers["Cache-Control"] = "no-store"
    return StartedDeviceLogin(
        device_code=started.device_code,
        user_code=started.row.user_code,
        verification_uri=f"{public_url}/settings#connect",
        verification_uri_complete=f"{public_url}/settings#connect={started.row.user_code}",
        expires_in=int(LIFETIME.total_seconds()),
        interval=POLL_SECONDS,
    )


@router.post(
    "/login/device/token", response_model=Token, responses=problem_responses("authorization_pending", "access_denied", "expired_token")
)
def redeem_device_login(code: DeviceCode, device_logins: DeviceLoginsDep, response: Response) -> Token:
    """Exchange the device code for a session, once the user has approved the sign-in.

    400 `authorization_pending`: ask again after `interval` seconds. 400 `access_denied` and `expired_token` are final.
    """
    signed_in = device_logins.redeem(code.device_code)
    response.headers["Cache-Control"] = "no-store"
    access_token = signed_in.access_token
    return Token(access_token=access_token.value, expires_in=access_token.expires_in, refresh_token=signed_in.refresh_token)


@router.get(
    "/users/me/device-logins/{user_code}",
    response_model=DeviceLogin,
    responses=problem_responses("device_login_not_found", "permission_denied", "too_many_attempts"),
)
def get_device_login(user_code: UserCode, user: CurrentUserDep, device_logins: DeviceLoginsDep) -> models.DeviceLogin:
    """Return the program that shows this code and waits for approval. Needs a session; an API key cannot approve programs."""
    return device_logins.get(user, user_code)


@router.post(
    "/users/me/device-logins/{user_code}",
    status_code=204,
    responses=problem_responses("device_login_not_found", "permission_denied", "too_many_attempts"),
)
def decide_device_login(user_code: UserCode, parameters: DeviceLoginDecision, user: CurrentUserDep, device_logins: DeviceLoginsDep) -> None:
    """Approve or deny the sign-in of a program to the caller's account. Needs a session; an API key cannot approve programs."""
    device_logins.decide(user, user_code, is_approved=parameters.decision == "approve")
