"""The start of an upload in one statement, which authenticates the caller, checks the quota, and inserts the pending file.

It commits by itself and keeps the rules of `repositories/files/transitions`: file and usage change together, and the lock order is the
idempotency key, the owner, the end of the audit log.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any, NamedTuple

from sqlalchemy import CTE, BigInteger, Integer, Select, exists, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert

from lambda_app.core.errors import MalformedRequestError
from lambda_app.db.compiled import CompiledStatement, StatementRunner, parameter
from lambda_app.db.errors import DIVISION_BY_ZERO, sqlstate_of
from lambda_app.models import File, IdempotencyKey, User
from lambda_app.repositories.accounts.callers import (
    CALLER_COLUMNS,
    Caller,
    Credential,
    CredentialKind,
    caller_of,
    credential_name,
    may,
    select_caller,
)
from lambda_app.repositories.audit import audit_details, audit_insert_for, audit_parameters, compiled_audit_entry
from lambda_app.repositories.files.idempotency import is_free_key, take_over
from lambda_app.repositories.files.transitions import charge, has_room_for
from lambda_app.schemas.accounts.api_keys import Scope

FILE_PARAMETERS = (
    "id", "filename", "content_type", "size_bytes", "sha256", "description", "is_public", "s3_key", "status", "upload_expires_at",
    "has_part_digests", "revision", "created_at", "updated_at",
)  # fmt: skip
"""The columns of the pending file that the request sets."""


class ReservedUpload(NamedTuple):
    """The caller, and whether the file was inserted: not if the quota does not suffice, a scope is missing, or the key is taken."""

    caller: Caller | None
    is_reserved: bool
    is_rolled_back: bool = False
    """Whether the statement was rolled back because the quota does not suffice; then it is open who the caller is."""


class UploadLimits(NamedTuple):
    """The quota of users without an individual one, and the deletion allowance."""

    default_bytes: int
    default_files: int
    allowance_bytes: int


class Key(NamedTuple):
    """The idempotency key of a request."""

    route: str
    key: str
    fingerprint: str
    created_at: datetime
    locked_until: datetime
    expired_before: datetime


_PUBLIC_DETAILS = audit_details({"is_new": True, "is_public": True})


def _of(model: Any, name: str) -> Any:
    return parameter(f"{model.__tablename__}_{name}", model.__table__.c[name].type)


def _reservation(kind: CredentialKind, *, is_public: bool, with_key: bool) -> Select[Any]:
    scopes = (Scope.FILES_WRITE, Scope.SHARES) if is_public else (Scope.FILES_WRITE,)
    caller = select_caller(kind, may(kind, *scopes).label("may_upload")).cte("caller")
    size = _of(File, "size_bytes")
    has_room = has_room_for(
        size,
        now=parameter("now", User.updated_at.type),
        default_bytes=parameter("default_bytes", BigInteger()),
        default_files=parameter("default_files", Integer()),
        allowance_bytes=parameter("allowance_bytes", BigInteger()),
    )
    parts: list[CTE] = []
    # The epoch is compared again after a wait for the lock: a concurrent takeover of the account ends the credentials.
    conditions = [User.id == caller.c.id, User.token_epoch == caller.c.token_epoch, caller.c.may_upload, has_room]
    if with_key:
        parts.append(_claim(caller))
        # The key is locked before the owner: PostgreSQL has to run the first CTE to know whether it has a row.
        conditions.append(exists(select(parts[0].c.resource_id)))
    reserved = charge(size).where(*conditions).returning(User.id).cte("reserved")
    values = [_of(File, name) for name in FILE_PARAMETERS]
    rows = select(*values, reserved.c.id)
    added = insert(File).from_select([*FILE_PARAMETERS, "owner_id"], rows, include_defaults=False).returning(File.id).cte("added")
    columns: list[Any] = [*list(caller.c)[:CALLER_COLUMNS], exists(select(added.c.id))]
    if with_key:
        # A claimed key must not remain without its file: the division by zero rolls the whole statement back.
        claims, additions = (select(func.count()).select_from(part).scalar_subquery() for part in (parts[0], added))
        columns.append(literal_column("1") / (1 - claims + additions))
    parts.append(added)
    if is_public:
        # Every caller may read a public file, so its creation is audited.
        changed = select(added.c.id, caller.c.id.label("caller_id"), caller.c.key_id).select_from(added.join(caller, true())).cte("changed")
        action, credential = "file.visibility_changed", credential_name(kind, changed)
        entry = compiled_audit_entry(action, actor_id=changed.c.caller_id, credential=credential, details=_PUBLIC_DETAILS)
        parts += [changed, audit_insert_for(changed, kind="file", entry=entry).cte("logged")]
    return select(*columns).select_from(caller).add_cte(*parts)


def _claim(caller: CTE) -> CTE:
    new = {
        "user_id": caller.c.id,
        "resource_id": _of(File, "id"),
        "is_done": true(),
        **{name: _of(IdempotencyKey, name) for name in ("route", "key", "fingerprint", "created_at", "locked_until")},
    }
    claim = insert(IdempotencyKey).from_select(list(new), select(*new.values()).select_from(caller).where(caller.c.may_upload))
    is_free = is_free_key(
        now=_of(IdempotencyKey, "created_at"),
        expired_before=parameter("idempotency_key_expired_before", IdempotencyKey.created_at.type),
        is_same=IdempotencyKey.fingerprint == _of(IdempotencyKey, "fingerprint"),
    )
    return take_over(claim, is_free).returning(IdempotencyKey.resource_id).cte("claimed")


@cache
def _statement(kind: CredentialKind, is_public: bool, with_key: bool) -> CompiledStatement:
    return CompiledStatement(partial(_reservation, kind, is_public=is_public, with_key=with_key))


def upload_statements() -> list[CompiledStatement]:
    """Return all statements, to compile them before they are needed."""
    flags = (False, True)
    return [_statement(kind, is_public, with_key) for kind in CredentialKind for is_public in flags for with_key in flags]


class CallerUploadRepository:
    """Starts uploads of callers that are authenticated by the same statement."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    def reserve(self, credential: Credential, file: Mapping[str, Any], *, limits: UploadLimits, key: Key | None) -> ReservedUpload:
        """Insert the pending file with these columns (`FILE_PARAMETERS`), charge the caller and commit.

        With a key, also claim it. Nothing is changed unless the credential is in force, has the scopes, the quota suffices, and no other
        request has the key.
        """
        parameters = {
            **credential.parameters,
            **limits._asdict(),
            **{f"file_{name}": value for name, value in file.items()},
            "now": file["created_at"],
        }
        if file["is_public"]:
            parameters |= audit_parameters()
        if key is not None:
            parameters |= {f"idempotency_key_{name}": value for name, value in key._asdict().items()}
        statement = _statement(credential.kind, file["is_public"], key is not None)
        try:
            rows = self._runner.run(statement, parameters)
        except MalformedRequestError as error:
            if key is None or sqlstate_of(error.__cause__) != DIVISION_BY_ZERO:
                raise
            return ReservedUpload(None, is_reserved=False, is_rolled_back=True)
        return ReservedUpload(caller_of(rows), is_reserved=bool(rows) and rows[0][CALLER_COLUMNS])
