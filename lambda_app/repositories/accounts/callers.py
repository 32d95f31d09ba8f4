"""The caller of a request, authenticated within the statement that serves the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)

from lambda_app.core import clock
from lambda_app.db.compiled import CompiledStatement, Read, StatementRunner, Steps, parameter
from lambda_app.models import ApiKey, User, UserSession
from lambda_app.repositories.accounts.api_keys import LAST_USED_STEP, is_valid_key
from lambda_app.repositories.accounts.sessions import is_live_session
from lambda_app.repositories.json_rows import json_object, json_time
from lambda_app.schemas.accounts.api_keys import Scope


class CredentialKind(Enum):
    """What a caller authenticates with. Each kind has statements of its own."""

    SESSION = "session"
    API_KEY = "api_key"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that has a valid form and, if it is a token, a valid signature; only the database shows whether it is in force."""

    kind: CredentialKind
    parameters: Mapping[str, Any]
    """The parameters of `select_caller`."""

    @property
    def user_id(self) -> UUID | None:
        """The user of a session; None for an API key, whose user only the database knows."""
        return self.parameters.get("caller_id")


def session_credential(*, user_id: UUID, session_id: UUID, token_epoch: int) -> Credential:
    """Return the credential of a verified access token."""
    return Credential(CredentialKind.SESSION, {"caller_id": user_id, "session_id": session_id, "token_epoch": token_epoch})


def api_key_credential(key_hash: str) -> Credential:
    """Return the credential of an API key."""
    return Credential(CredentialKind.API_KEY, {"key_hash": key_hash})


class Caller(NamedTuple):
    """The authenticated user, and the API key if the request has one."""

    id: UUID
    token_epoch: int
    is_superuser: bool
    """Whether the caller has this power in the request: an API key needs the scope `admin` for it."""
    key_id: UUID | None
    scopes: str | None
    last_used_at: datetime | None


CALLER_COLUMNS = len(Caller._fields)


def select_caller(kind: CredentialKind, *columns: Any) -> Select[Any]:
    """Return the query for the caller: the columns of `Caller` and further ones; no row if the credential is not in force."""
    now = parameter("now", UserSession.created_at.type)
    if kind is CredentialKind.SESSION:
        rows = (
            select(
                User.id,
                User.token_epoch,
                User.is_superuser,
                cast(null(), Uuid).label("key_id"),
                cast(null(), Text).label("scopes"),
                cast(null(), ApiKey.last_used_at.type).label("last_used_at"),
                *columns,
            )
            .join(UserSession, is_live_session(now))
            .where(
                User.id == parameter("caller_id", User.id.type),
                UserSession.id == parameter("session_id", UserSession.id.type),
                User.token_epoch == parameter("token_epoch", User.token_epoch.type),
            )
        )
    else:
        rows = (
            select(
                User.id,
                User.token_epoch,
                # Without the scope, a superuser's key reaches only the superuser's own files, not those of all users.
                and_(User.is_superuser, key_has_scope(Scope.ADMIN)).label("is_superuser"),
                ApiKey.id.label("key_id"),
                ApiKey.scopes,
                ApiKey.last_used_at,
                *columns,
            )
            .join(ApiKey, is_valid_key(now))
            .where(ApiKey.key_hash == parameter("key_hash", ApiKey.key_hash.type))
        )
    return rows


def _authenticate(kind: CredentialKind) -> Select[Any]:
    return select_caller(kind)


def may(kind: CredentialKind, *scopes: Scope) -> ColumnElement[bool]:
    """Whether the credential has these scopes, as `require_scope` decides; a session has all of them."""
    if kind is CredentialKind.SESSION:
        return true()
    return or_(key_has_scope(Scope.ADMIN), and_(*map(key_has_scope, scopes)))


def credential_name(kind: CredentialKind, caller: FromClause) -> ColumnElement[str]:
    """Return the credential of the caller as the audit log shows it."""
    if kind is CredentialKind.SESSION:
        return func.concat("session:", parameter("session_id", UserSession.id.type))
    return func.concat("api_key:", caller.c.key_id)


def key_has_scope(scope: Scope) -> ColumnElement[bool]:
    """Whether the API key has the scope."""
    return literal(scope.value, Text) == any_(func.string_to_array(ApiKey.scopes, " "))


_RECORD_USE = CompiledStatement(
    lambda: (
        update(ApiKey)
        .where(ApiKey.id == parameter("key_id", ApiKey.id.type))
        .values(last_used_at=parameter("now", ApiKey.last_used_at.type))
        .returning(ApiKey.id)
    )
)


_SHOWN = ("email", "is_active", "email_verified_at", "display_name", "locale", "time_zone", "totp_confirmed_at",
    "requires_second_factor", "shows_name_on_links",
    "deletion_at", "created_at", "updated_at")  # fmt: skip
"""The columns that the account as the API shows it has beside those of `Caller`."""


def _account(kind: CredentialKind) -> Select[Any]:
    caller = select_caller(kind, *(getattr(User, name) for name in _SHOWN)).subquery("caller")
    user = caller.c
    account = json_object(
        caller,
        id=user.id,
        email=user.email,
        is_active=user.is_active,
        is_superuser=user.is_superuser,
        email_verified=user.email_verified_at.is_not(None),
        display_name=user.display_name,
        locale=user.locale,
        time_zone=user.time_zone,
        has_second_factor=user.totp_confirmed_at.is_not(None),
        requires_second_factor=user.requires_second_factor,
        shows_name_on_links=user.shows_name_on_links,
        deletion_at=json_time(user.deletion_at),
        created_at=json_time(user.created_at),
        updated_at=json_time(user.updated_at),
    )
    return select(*list(user)[:CALLER_COLUMNS], account)


_ACCOUNT = {kind: CompiledStatement(partial(_account, kind)) for kind in CredentialKind}


def caller_statements() -> list[CompiledStatement]:
    """Return all statements, to compile them before they are needed."""
    return [*AUTHENTICATE.values(), *_ACCOUNT.values(), _RECORD_USE]


class CallerRepository:
    """Authenticates callers, and records the use of API keys, in statements of their own."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    def get(self, credential: Credential) -> Caller | None:
        """Return the caller; None if the credential is not in force."""
        return caller_of(self._runner.run(AUTHENTICATE[credential.kind], {**credential.parameters, "now": clock.now()}))

    def get_account(self, credential: Credential) -> Steps[tuple[Caller | None, str]]:
        """Return the caller, and the caller's account as JSON: the fields of `schemas.accounts.users.User`, in their order."""
        (rows,) = yield Read([_ACCOUNT[credential.kind]], {**credential.parameters, "now": clock.now()})
        return caller_of(rows), rows[0][CALLER_COLUMNS] if rows else ""

    def record_use(self, caller: Caller) -> None:
        """Set the `last_used_at` of the caller's API key and commit, at most once an hour."""
        now = clock.now()
        if caller.key_id is None or (caller.last_used_at is not None and now - caller.last_used_at < LAST_USED_STEP):
            return
        self._runner.run(_RECORD_USE, {"key_id": caller.key_id, "now": now})


AUTHENTICATE = {kind: CompiledStatement(partial(_authenticate, kind)) for kind in CredentialKind}


def caller_of(rows: Sequence[Sequence[Any]]) -> Caller | None:
    """Return the caller from the first columns of the first row, or None if there is no row."""
    return Caller(*rows[0][:CALLER_COLUMNS]) if rows else None
