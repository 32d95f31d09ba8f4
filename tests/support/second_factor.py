"""The second factor of an account in tests."""

import httpx

from lambda_app.core import clock
from lambda_app.core.security.totp import STEP_SECONDS, totp_code
from tests.support.accounts import Account

FACTOR = "/api/v1/users/me/second-factor"


def current_step(offset: int = 0) -> int:
    """Return the current time step, or one before or after it."""
    return int(clock.now().timestamp()) // STEP_SECONDS + offset


def set_up(client: httpx.Client, account: Account) -> tuple[str, list[str]]:
    """Turn the second factor on with the code of the previous step; return the secret and the recovery codes."""
    secret = client.post(FACTOR, json={"current_password": account.password}, headers=account.headers).json()["secret"]
    confirmed = client.post(f"{FACTOR}/confirm", json={"otp": totp_code(secret, current_step(-1))}, headers=account.headers)
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["recovery_codes"]
