"""`login` and `logout`."""

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from we_upload.cli.output import UsageError, say
from we_upload.cli.store import CredentialStore, account, anonymous, store_tokens
from we_upload.cli.values import enter_password
from we_upload.client import Client
from we_upload.errors import NotAllowedError
from we_upload.models import User
from we_upload.session import Session, Token


def log_in(options: Any) -> None:
    """Sign in and store the credentials."""
    store = CredentialStore()
    url = options.url or options.server or os.environ.get("WE_UPLOAD_URL") or next(iter(store.servers()), None)
    url = url or _enter("Server (such as https://files.example.com): ")
    client = anonymous(url)
    server = client.api.base_url
    if server.startswith("http://") and urlsplit(server).hostname not in ("localhost", "127.0.0.1", "::1"):
        say(f"Warning: the connection to {server} is not encrypted. Others in the network can read your password.")
    email = options.email
    if not email and not options.api_key:
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
    place = "the keyring" if is_in_keyring else "a file that only you can read"
    say(f"Signed in to {server} as {user.email}. The credentials are in {place}.")


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
    return sys.stdin.readline().rstrip("\n")
