"""Device sign-in (RFC 8628): a program without a browser opens a session that a user approves at a browser."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from lambda_app.core import clock
from lambda_app.core.errors import AppError, NotFoundError, PermissionDeniedError, TooManyRequestsError
from lambda_app.core.request_context import current_session_id, request_context
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import DeviceLogin, User
from lambda_app.repositories.accounts.device_logins import DeviceLoginRepository
from lambda_app.services.accounts.login_throttle import LoginThrottle, networks_of
from lambda_app.services.accounts.sessions import SessionService, SignedIn

LIFETIME = timedelta(minutes=10)
POLL_SECONDS = 5
"""How long a program waits between two questions."""
OPEN_PER_NETWORK = 20
"""Open requests of one network: each is a code that a user could be talked into approving."""
CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels, so that no code is a word (RFC 8628, section 6.1). Eight of them are 34 bits."""
_HALF = 4
_TRIES = 5


class DeviceLoginPendingError(AppError):
    """No user has decided yet."""

    status = 400
    code = "authorization_pending"
    message = "The sign-in has not been approved yet; ask again in a few seconds"


class DeviceLoginDeniedError(AppError):
    """The user denied the sign-in, or the account was closed since."""

    status = 400
    code = "access_denied"
    message = "The sign-in was denied"


class DeviceLoginExpiredError(AppError):
    """The device code is unknown, expired or used."""

    status = 400
    code = "expired_token"
    message = "The sign-in has expired or was used before; start again"


class NoDeviceLoginError(NotFoundError):
    """No open request has this user code."""

    code = "device_login_not_found"
    message = "No program waits for this code: it may be mistyped, expired or used. Start the sign-in again"


class TooManyDeviceLoginsError(TooManyRequestsError):
    """Too many requests of the network are open."""

    code = "too_many_device_logins"
    message = "Too many sign-ins from this network wait for approval; try again in a few minutes"


@dataclass(frozen=True, slots=True)
class StartedDeviceLogin:
    """A request, and the device code, of which only a hash is stored."""

    row: DeviceLogin
    device_code: str = field(repr=False)


class DeviceLoginService:
    """Starts, shows, decides and redeems device sign-ins."""

    def __init__(self, *, device_logins: DeviceLoginRepository, sessions: SessionService, login_throttle: LoginThrottle) -> None:
        self._device_logins = device_logins
        self._login_throttle = login_throttle
        self._sessions = sessions

    def start(self, client: str) -> StartedDeviceLogin:
        """Start a sign-in for a program that calls itself `client`. Raises TooManyDeviceLoginsError."""
        address = request_context().source_address
        network = networks_of(address)[0]
        if self._device_logins.count_open(network, at_most=OPEN_PER_NETWORK) >= OPEN_PER_NETWORK:
            raise TooManyDeviceLoginsError(headers={"Retry-After": str(int(LIFETIME.total_seconds()))})
        now, device_code = clock.now(), new_secret()
        for _ in range(_TRIES):
            row = DeviceLogin(
                id=uuid4(),
                device_code_hash=hash_secret(device_code),
                user_code=_new_user_code(),
                client=client,
                source_address=address,
                network=network,
                created_at=now,
                expires_at=now + LIFETIME,
                is_approved=False,
            )
            if self._device_logins.add(row):
                return StartedDeviceLogin(row, device_code)
        raise TooManyDeviceLoginsError(headers={"Retry-After": str(POLL_SECONDS)})

    def get(self, user: User, user_code: str) -> DeviceLogin:
        """Return the open request with this code. Raises NoDeviceLoginError, PermissionDeniedError and ThrottledError."""
        _require_session()
        self._login_throttle.count_user_code(user)
        login = self._device_logins.find_undecided(normalise_user_code(user_code))
        if login is None:
            self._login_throttle.record_wrong_user_code(user)
            raise NoDeviceLoginError
        self._login_throttle.reset_user_code(user)
        return login

    def decide(self, user: User, user_code: str, *, is_approved: bool) -> None:
        """Approve or deny a sign-in to the user's account. Raises NoDeviceLoginError, PermissionDeniedError and ThrottledError."""
        login = self.get(user, user_code)
        # Open a moment ago; a concurrent request may have decided it.
        if not self._device_logins.decide(login.user_code, user, is_approved=is_approved):
            raise NoDeviceLoginError

    def redeem(self, device_code: str) -> SignedIn:
        """Exchange the device code of an approved sign-in for a session, once.

        Raises DeviceLoginPendingError, DeviceLoginDeniedError, DeviceLoginExpiredError.
        """
        code_hash = hash_secret(device_code)
        decided = self._device_logins.take(code_hash)
        if decided is None:
            raise DeviceLoginPendingError if self._device_logins.is_undecided(code_hash) else DeviceLoginExpiredError
        is_approved, user = decided
        if user is None or not is_approved:
            raise DeviceLoginDeniedError
        return self._sessions.open_approved(user)


def normalise_user_code(text: str) -> str:
    """Return a code as it is stored, from what a person typed: upper case, with the dash, without other characters."""
    letters = "".join(letter for letter in text.upper() if letter.isascii() and letter.isalpha())
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def _new_user_code() -> str:
    return normalise_user_code("".join(secrets.choice(CODE_LETTERS) for _ in range(2 * _HALF)))


def _require_session() -> None:
    # An API key with limited life must not create a session that outlives it.
    if current_session_id() is None:
        raise PermissionDeniedError("Sign in with a password to approve other programs; an API key cannot")
