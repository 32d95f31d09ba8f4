"""What the command keeps on this computer: credentials, in the keyring or a file that only the user can read, and the journal."""

import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from we_upload.cli.output import NoCredentialsError, UsageError, say
from we_upload.client import Client
from we_upload.http import normalise_server
from we_upload.journal import Journal
from we_upload.retries import TRIES_MAX
from we_upload.session import Session, Token, Tokens

KEYRING_SERVICE = "we-upload"
TRIES_OF_A_CALL = 3
"""Tries of a single call, for which a person waits. Transfers have more."""


def _folder(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    if not base and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / default) / "we-upload"


def config_folder() -> Path:
    """Return the folder of the credentials: `$XDG_CONFIG_HOME/we-upload`, or `~/.config/we-upload`."""
    return _folder("XDG_CONFIG_HOME", ".config")


def state_folder() -> Path:
    """Return the folder of the journal: `$XDG_STATE_HOME/we-upload`, or `~/.local/state/we-upload`."""
    return _folder("XDG_STATE_HOME", ".local/state")


def open_journal() -> Journal:
    """Open the journal of this user; where that is not possible, one in memory, with a message."""
    path = state_folder() / "journal.sqlite3"
    try:
        return Journal(path)
    except (sqlite3.Error, OSError) as error:
        say(f"{path} cannot be used ({error}), so this command cannot be continued after an interruption.")
        return Journal()


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-in client, and what identifies its account in the journal."""

    client: Client
    identity: str


class CredentialStore:
    """The credentials of the servers that the user has signed in to."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or config_folder()
        self._path = self._folder / "credentials.json"

    def servers(self) -> list[str]:
        """Return the servers, the default one first."""
        content = self._read()
        return sorted(content["servers"], key=lambda url: url != content.get("default"))

    def load(self, url: str) -> dict[str, Any] | None:
        """Return the record of a server: `email`, and `api_key` or `access_token` and `refresh_token`."""
        record: dict[str, Any] | None = self._read()["servers"].get(url)
        if record is None or not record.get("in_keyring"):
            return record
        ring = _keyring()
        kept = ring.get_password(KEYRING_SERVICE, url) if ring else None
        return {**record, **json.loads(kept)} if kept else None

    def save(self, url: str, email: str, secrets: dict[str, str], *, is_default: bool = True) -> bool:
        """Store credentials and make the server the default. Return whether they are in the keyring."""
        ring = _keyring()
        is_in_keyring = False
        if ring is not None:
            try:
                ring.set_password(KEYRING_SERVICE, url, json.dumps(secrets))
                is_in_keyring = True
            except Exception:  # noqa: BLE001 - backends raise errors of their own; the file is the fallback
                is_in_keyring = False
        content = self._read()
        if is_default:
            content["default"] = url
        content["servers"][url] = {"email": email, "in_keyring": True} if is_in_keyring else {"email": email, **secrets}
        self._write(content)
        return is_in_keyring

    def forget(self, url: str) -> None:
        """Delete the credentials of a server."""
        content = self._read()
        record = content["servers"].pop(url, None)
        if record and record.get("in_keyring") and (ring := _keyring()):
            ring.delete_password(KEYRING_SERVICE, url)
        if content.get("default") == url:
            content["default"] = next(iter(content["servers"]), None)
        self._write(content)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of this user from renewing a session at the same time."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "credentials.lock").open("w") as file:
            try:
                import fcntl
            except ImportError:
                # Windows: the server returns the same tokens to two renewals within 30 seconds.
                yield
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"servers": {}}
        except (OSError, ValueError) as error:
            raise UsageError(f"{self._path} cannot be read ({error}). Delete it and sign in again.") from None
        return content if isinstance(content, dict) and isinstance(content.get("servers"), dict) else {"servers": {}}

    def _write(self, content: dict[str, Any]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(f".{os.getpid()}.new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
        new.replace(self._path)


def _keyring() -> Any | None:
    """Return the keyring library if it is installed and has a usable backend."""
    try:
        import keyring  # type: ignore[import-not-found, unused-ignore]  # an optional dependency
        from keyring.backends.fail import Keyring as NoKeyring  # type: ignore[import-not-found, unused-ignore]  # as above
    except ImportError:
        return None
    return None if isinstance(keyring.get_keyring(), NoKeyring) else keyring


def anonymous(server: str) -> Client:
    """Return a client without credentials. Raises UsageError for a malformed address."""
    try:
        client = Client(server)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    client.api.tries_max = TRIES_OF_A_CALL
    return client


def prepare_transfer(client: Client) -> None:
    """Report an unreachable server soon; then let the calls of the transfer survive a longer break."""
    client.config()
    client.api.tries_max = TRIES_MAX


def account(options: Any) -> Account:
    """Return the client of the signed-in account. Raises NoCredentialsError if there is none."""
    key, url = os.environ.get("WE_UPLOAD_API_KEY"), options.server or os.environ.get("WE_UPLOAD_URL")
    if key:
        if not url:
            raise UsageError("WE_UPLOAD_API_KEY needs WE_UPLOAD_URL, the address of the server.")
        client = anonymous(url)
        client.api.credentials = Token(key)
        return Account(client, key[:12])
    store = CredentialStore()
    servers = store.servers()
    if not url and not servers:
        raise NoCredentialsError("You are not signed in. Run: we-upload login https://files.example.com")
    client = anonymous(url or servers[0])
    record = store.load(client.api.base_url)
    if record is None:
        raise NoCredentialsError(f"You are not signed in to {client.api.base_url}. Run: we-upload login {client.api.base_url}")
    client.api.credentials = Token(record["api_key"]) if "api_key" in record else stored_session(client, store, record)
    return Account(client, record["email"])


def optional_account(options: Any, url: str) -> Client:
    """Return a client for a link: with the credentials of its server if the user is signed in there."""
    server = normalise_server(url)
    if os.environ.get("WE_UPLOAD_API_KEY") and os.environ.get("WE_UPLOAD_URL"):
        found = account(options).client
        return found if found.api.base_url == server else anonymous(server)
    store = CredentialStore()
    client = anonymous(server)
    record = store.load(server)
    if record is not None:
        client.api.credentials = Token(record["api_key"]) if "api_key" in record else stored_session(client, store, record)
    return client


def stored_session(client: Client, store: CredentialStore, record: dict[str, Any]) -> Session:
    """Return the stored session, which stores each renewed pair of tokens."""
    url = client.api.base_url

    def reload() -> Tokens | None:
        kept = store.load(url)
        return Tokens(kept["access_token"], kept["refresh_token"]) if kept and "refresh_token" in kept else None

    return Session(
        client.api,
        Tokens(record["access_token"], record["refresh_token"]),
        on_renewed=lambda tokens: store_tokens(store, url, record["email"], tokens, is_default=False),
        reload=reload,
        lock=store.locked,
    )


def store_tokens(store: CredentialStore, url: str, email: str, tokens: Tokens, *, is_default: bool) -> bool:
    """Store the tokens of a session. Return whether they are in the keyring."""
    secrets = {"access_token": tokens.access_token, "refresh_token": tokens.refresh_token}
    return store.save(url, email, secrets, is_default=is_default)
