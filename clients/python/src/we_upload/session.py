"""Credentials: an API key, or a session whose access token is renewed when it expires."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from we_upload.errors import NotSignedInError, ProblemError
from we_upload.http import Api


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a session. The access token is valid for minutes, the refresh token for days."""

    access_token: str
    refresh_token: str


class Token:
    """An API key, or an access token that the caller renews."""

    def __init__(self, token: str) -> None:
        self._token = token

    def bearer(self) -> str:
        """Return the token."""
        return self._token

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the signature of Credentials
        """Return False: there is no other token."""
        return False


class Session:
    """A session. `on_renewed` receives each new pair, so that the caller can store it.

    Several processes can share a stored session: `lock` is held during a renewal, and `reload` returns the pair that another process
    may have stored meanwhile.
    """

    def __init__(
        self,
        api: Api,
        tokens: Tokens,
        *,
        on_renewed: Callable[[Tokens], object] = lambda _: None,
        reload: Callable[[], Tokens | None] = lambda: None,
        lock: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._api = api
        self._tokens = tokens
        self._on_renewed = on_renewed
        self._reload = reload
        self._lock_processes = lock
        self._lock = threading.Lock()

    @property
    def tokens(self) -> Tokens:
        """The current pair."""
        return self._tokens

    def bearer(self) -> str:
        """Return the access token."""
        return self._tokens.access_token

    def renew(self, refused: str) -> bool:
        """Exchange the refresh token. Return False when the session has ended."""
        with self._lock:
            if self._tokens.access_token != refused:
                return True
            with self._lock_processes():
                stored = self._reload()
                if stored is not None and stored.access_token != refused:
                    self._tokens = stored
                    return True
                try:
                    self._tokens = refresh(self._api, self._tokens.refresh_token)
                except NotSignedInError:
                    return False
                self._on_renewed(self._tokens)
                return True

    def end(self) -> None:
        """End the session on the server."""
        try:
            _anonymous(self._api).call("POST", "/login/logout", json_body={"refresh_token": self._tokens.refresh_token})
        except NotSignedInError:
            # It has ended already.
            return


def sign_in(api: Api, email: str, password: str, otp: str | None = None) -> Tokens:
    """Open a session. Raises NotSignedInError for wrong credentials, NotAllowedError `second_factor_required` if a code is missing."""
    form = {"username": email, "password": password, **({"otp": otp} if otp else {})}
    return _tokens(_anonymous(api).call("POST", "/login/token", form=form, is_repeatable=False).json())


def start_device_login(api: Api, client: str) -> dict[str, Any]:
    """Start a sign-in that a user approves at a browser. Returns the members of a device authorization response (RFC 8628)."""
    started: dict[str, Any] = _anonymous(api).call("POST", "/login/device", json_body={"client": client}, is_repeatable=False).json()
    return started


def wait_for_approval(api: Api, started: dict[str, Any], wait: Callable[[float], object]) -> Tokens:
    """Ask until the user has approved the sign-in. Raises ProblemError `access_denied` or `expired_token`.

    `wait` is called with the seconds before each question.
    """
    while True:
        wait(started["interval"])
        try:
            return _tokens(_anonymous(api).call("POST", "/login/device/token", json_body={"device_code": started["device_code"]}).json())
        except ProblemError as error:
            if error.code != "authorization_pending":
                raise


def refresh(api: Api, refresh_token: str) -> Tokens:
    """Exchange a refresh token. Repeating the exchange after a lost answer is safe."""
    return _tokens(_anonymous(api).call("POST", "/login/refresh", json_body={"refresh_token": refresh_token}).json())


def _anonymous(api: Api) -> Api:
    return Api(api.base_url, api.transport)


def _tokens(answer: dict[str, Any]) -> Tokens:
    return Tokens(answer["access_token"], answer["refresh_token"])
