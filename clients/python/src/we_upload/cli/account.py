"""`login` and `logout`."""

import os
import platform
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from we_upload.cli.output import UsageError, say
from we_upload.cli.store import CredentialStore, account, anonymous, store_tokens
from we_upload.cli.values import enter_password
from we_upload.client import Client
from we_upload.errors import NotAllowedError, NotFoundError
from we_upload.models import User
from we_upload.session import Session, Token, Tokens, start_device_login, wait_for_approval

CLIENT_NAME_MAX = 100
API_KEY_PREFIX = "wup_"


def log_in(options: Any) -> None:
    """Sign in and store the credentials."""
    if API_KEY_PREFIX in ((options.api_key or "")[:4], (options.url or "")[:4]) or (options.api_key and options.url):
        raise UsageError("Other users of this computer can see the arguments of a command. Send the API key on standard input.")
    store = CredentialStore()
    url = options.url or options.api_key or options.server or os.environ.get("WE_UPLOAD_URL") or next(iter(store.servers()), None)
    url = url or _enter("Server (such as https://files.example.com): ")
    client = anonymous(url)
    server = client.api.base_url
    if server.startswith("http://") and urlsplit(server).hostname not in ("localhost", "127.0.0.1", "::1"):
        say(f"Warning: the connection to {server} is not encrypted. Others in the network can read your password.")
    email = options.email
    if not email and options.api_key is None:
        tokens = _approved_in_browser(client, opens=not options.no_browser) if sys.stdin.isatty() else None
        if tokens is not None:
            client.api.credentials = Session(client.api, tokens)
            user = client.me()
            _report(server, user, is_in_keyring=store_tokens(store, server, user.email, tokens, is_default=True))
            return
        email = _enter(f"E-mail at {server} (leave it empty to enter an API key): ")
    if email:
        user = _sign_in(client, email, _secret("Password: "))
        session = client.api.credentials
        assert isinstance(session, Session)  # noqa: S101 - sign_in has set it
        is_in_keyring = store_tokens(store, server, user.email, session.tokens, is_default=True)
    else:
        key = _secret("API key: ").strip()
        if not key:
            raise UsageError("The API key is empty.")
        client.api.credentials = Token(key)
        user = client.me()
        is_in_keyring = store.save(server, user.email, {"api_key": key})
    _report(server, user, is_in_keyring=is_in_keyring)


def log_out(options: Any) -> None:
    """End the session, or forget the API key."""
    found = account(options)
    url = found.client.api.base_url
    credentials = found.client.api.credentials
    if isinstance(credentials, Session):
        credentials.end()
        say(f"Signed out of {url}.")
    elif os.environ.get("WE_UPLOAD_API_KEY"):
        raise UsageError("The API key is in WE_UPLOAD_API_KEY, so there is nothing to delete.")
    else:
        say(f"Deleted the API key for {url} from this computer. It stays valid until you revoke it in the settings of your account.")
    CredentialStore().forget(url)


def _report(server: str, user: User, *, is_in_keyring: bool) -> None:
    place = "the keyring" if is_in_keyring else "a file that only you can read"
    say(f"Signed in to {server} as {user.email}. The credentials are in {place}.")


def _approved_in_browser(client: Client, *, opens: bool) -> Tokens | None:
    """Return the tokens of a sign-in that the user approves in the web app; None for a server without this way."""
    name = f"we-upload on {platform.node() or 'this computer'}"[:CLIENT_NAME_MAX]
    try:
        started = start_device_login(client.api, name)
    except NotFoundError:
        return None
    say(f"Code: {started['user_code']}")
    say(f"Open {started['verification_uri_complete']} in a browser, compare the code, and approve the sign-in. Waiting...")
    if opens and _has_browser():
        import webbrowser

        webbrowser.open(started["verification_uri_complete"])
    return wait_for_approval(client.api, started, time.sleep)


def _has_browser() -> bool:
    """Whether a graphical browser can open: not over SSH, and not a browser that would take over this terminal."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _sign_in(client: Client, email: str, password: str) -> User:
    try:
        return client.sign_in(email, password)
    except NotAllowedError as error:
        if error.code != "second_factor_required":
            raise
    return client.sign_in(email, password, _secret("One-time code: ").strip())


def _enter(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal. Name the server and --email or --api-key, and send the secret on standard input.")
    sys.stderr.write(prompt)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def _secret(prompt: str) -> str:
    if sys.stdin.isatty():
        return enter_password(is_new=False, prompt=prompt)
    secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise UsageError(f"{prompt.strip(' :')}: standard input is empty; send it as a line of standard input.")
    return secret
