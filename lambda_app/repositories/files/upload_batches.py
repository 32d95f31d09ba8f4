"""Statements that start many uploads at once.

Lock order: the files in order of their ids, the owner, the idempotency key. The keys of this route are locked
after the owner, those of other routes before; no request uses both.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    DateTime,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.core import clock
from lambda_app.models import File, FileStatus, IdempotencyKey, Tombstone, User
from lambda_app.repositories.audit import audit_entry, audit_insert_for, entry_parameters
from lambda_app.repositories.files.deletions import deleted_bytes_now
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, json_rows, json_text
from lambda_app.schemas.files.files import FileCreate

_TIME = DateTime(timezone=True)
_OWNER_ID, _NOW = bindparam("owner_id", type_=Uuid()), bindparam("now", type_=_TIME)
_DECLARED = {name: File.__table__.c[name].type for name in ("id", "s3_key", "upload_expires_at", *FileCreate.model_fields)}
"""The columns of a file that differ between the uploads of one request."""


@dataclass(frozen=True, slots=True)
class BatchKey:
    """The idempotency key of the request. A key that is older than `expired_before` is free."""

    route: str
    key: str
    fingerprint: str
    resource_id: UUID
    expired_before: datetime


class Reservation(NamedTuple):
    """The files that were inserted, and the state of the owner and of the key when they were."""

    started: set[UUID]
    bytes_left: int
    """Of the owner's quota, after the insertion. Negative if a superuser has reduced the quota below what is stored."""
    files_left: int
    can_upload: bool
    """Whether the owner's deletion allowance is not used."""
    is_key_taken: bool
    """Whether an earlier request with this key has started its uploads."""


class UploadBatchRepository:
    """Inserts the pending files of one request, and extends them if it is repeated."""

    def __init__(self, session: Session, *, deletion_allowance_bytes: int) -> None:
        self._session = session
        self._deletion_allowance_bytes = deletion_allowance_bytes

    def reserve(
        self,
        owner_id: UUID,
        files: Sequence[Mapping[str, Any]],
        *,
        owner_epoch: int,
        default_bytes: int,
        default_files: int,
        all_or_nothing: bool,
        key: BatchKey | None,
    ) -> Reservation | None:
        """Insert those of the pending files for which the owner has room, in this order, charge the owner and commit.

        Each file that fits is started, so a file that is too large does not prevent the next one. With `all_or_nothing` none is started
        if one does not fit. With a key, nothing is started if the key is taken, and the key is taken if a file is started. None if the
        owner does not exist, or the owner's credentials have ended since `token_epoch` was `owner_epoch`. `files` have the columns of
        `_DECLARED`.
        """
        is_public = any(file["is_public"] for file in files)
        statement = _reservation(self._deletion_allowance_bytes, is_keyed=key is not None, is_public=is_public)
        now = clock.now()
        parameters = {
            "owner_id": owner_id,
            "owner_epoch": owner_epoch,
            "now": now,
            "sizes": "{" + ",".join(str(file["size_bytes"]) for file in files) + "}",
            "declared": json.dumps([{"position": number, **file} for number, file in enumerate(files, 1)], default=str),
            "default_bytes": default_bytes,
            "default_files": default_files,
            "all_or_nothing": all_or_nothing,
        }
        if is_public:
            parameters |= entry_parameters(audit_entry("file.visibility_changed", details={"is_new": True, "is_public": True}))
        if key is not None:
            parameters |= {
                "route": key.route,
                "key": key.key,
                "fingerprint": key.fingerprint,
                "resource_id": key.resource_id,
                "expired_before": key.expired_before,
            }
        rows = self._session.execute(statement, parameters, execution_options=OWN_TRANSACTION).all()
        if not rows:
            return None
        _, bytes_left, files_left, can_upload, placed, is_claimed = rows[0]
        started = {row.started_id for row in rows if row.started_id is not None}
        return Reservation(started, int(bytes_left), int(files_left), can_upload, placed > 0 and not is_claimed)

    def extend(self, owner_id: UUID, deadlines: Mapping[UUID, datetime]) -> set[UUID]:
        """Extend the uploads to these times at least, commit, and return the files that are still pending or available."""
        times = json_text({"id": file_id, "until": until} for file_id, until in deadlines.items())
        return set(self._session.execute(*_extend(owner_id=owner_id, times=times)).scalars())

    def list_ended(self, file_ids: Iterable[UUID]) -> set[UUID]:
        """Return those of the ids that belong to a file, or to one that was deleted so recently that it has a tombstone."""
        return set(self._session.execute(*_ended(ids=list(file_ids))).scalars())


@built_once
def _extend(*, owner_id: UUID, times: str) -> ReturningUpdate[UUID]:
    deadlines = json_rows("times", times, column("id", Uuid), column("until", _TIME))
    is_live = (File.owner_id == owner_id, File.status.in_((FileStatus.PENDING, FileStatus.AVAILABLE)))
    found = (
        select(File.id, deadlines.c.until)
        .join_from(deadlines, File, File.id == deadlines.c.id)
        .where(*is_live)
        .order_by(File.id)
        .with_for_update(of=File, key_share=True)
        .cte("found")
    )
    change = update(File).where(File.id == found.c.id)
    statement = change.values(upload_expires_at=func.greatest(File.upload_expires_at, found.c.until)).returning(File.id)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _ended(*, ids: list[UUID]) -> CompoundSelect[UUID]:
    return select(File.id).where(File.id.in_(ids)).union_all(select(Tombstone.file_id).where(Tombstone.file_id.in_(ids)))


@cache
def _reservation(allowance_bytes: int, *, is_keyed: bool, is_public: bool) -> Select[Any]:
    """Return the statement of `reserve`. It locks the owner first, so that concurrent requests see the room that is left.

    With `is_public`, it adds an event for each public file, because every caller may read it.
    """
    deleted = deleted_bytes_now(_NOW, allowance_bytes=allowance_bytes)
    owner = (
        select(
            (func.coalesce(User.quota_bytes, bindparam("default_bytes", type_=BigInteger)) - User.bytes_used).label("bytes_left"),
            (func.coalesce(User.quota_files, bindparam("default_files", type_=Integer)) - User.files_count).label("files_left"),
            (deleted <= literal(allowance_bytes, BigInteger)).label("can_upload"),
        )
        .where(User.id == _OWNER_ID, User.token_epoch == bindparam("owner_epoch", type_=User.token_epoch.type))
        .with_for_update(key_share=True)
        .cte("owner")
    )
    fitting = _fitting(owner)
    all_fit = select(func.bool_and(fitting.c.fits)).where(fitting.c.position > 0).scalar_subquery()
    is_accepted = or_(not_(bindparam("all_or_nothing", type_=Boolean)), all_fit)
    placed = select(fitting.c.position).where(fitting.c.position > 0, fitting.c.fits, is_accepted).cte("placed")
    declared = func.jsonb_to_recordset(cast(bindparam("declared", type_=Text), JSONB)).table_valued(
        column("position", Integer), *(column(name, type_) for name, type_ in _DECLARED.items())
    )
    declared = declared.render_derived(name="declared", with_types=True)
    claimed = _claim(placed).returning(literal(1).label("one")).cte("claimed") if is_keyed else None
    rows = select(*(declared.c[name] for name in _DECLARED), _OWNER_ID, literal(FileStatus.PENDING.value), literal(1), _NOW, _NOW)
    rows = rows.join_from(declared, placed, placed.c.position == declared.c.position)
    if claimed is not None:
        rows = rows.join(claimed, true())
    names = [*_DECLARED, "owner_id", "status", "revision", "created_at", "updated_at"]
    insertion = insert(File).from_select(names, rows, include_defaults=False)
    added = insertion.returning(File.id, File.owner_id, File.size_bytes, File.is_public).cte("added")
    total = cast(func.sum(added.c.size_bytes), BigInteger).label("bytes")
    sums = select(added.c.owner_id, total, func.count().label("files")).group_by(added.c.owner_id).cte("sums")
    more = {"bytes_used": User.bytes_used + sums.c.bytes, "files_count": User.files_count + sums.c.files}
    charged = update(User).where(User.id == sums.c.owner_id).values(more).returning(User.id).cte("charged")
    query = (
        select(
            added.c.id.label("started_id"),
            owner.c.bytes_left - func.coalesce(sums.c.bytes, 0),
            owner.c.files_left - func.coalesce(sums.c.files, 0),
            owner.c.can_upload,
            select(func.count()).select_from(placed).scalar_subquery(),
            literal(True) if claimed is None else exists(select(claimed.c.one)),
        )
        .select_from(owner)
        .outerjoin(sums, true())
        .outerjoin(added, true())
        .add_cte(charged)
    )
    if not is_public:
        return query
    published = select(added.c.id).where(added.c.is_public).cte("published")
    logged = audit_insert_for(published, kind="file")
    return query.add_cte(logged.cte("logged"))


def _fitting(owner: CTE) -> CTE:
    """Return for each position, from 1, whether the file fits in what the files that fit before it have left."""
    start = select(
        literal(0, Integer).label("position"),
        cast(owner.c.bytes_left, BigInteger).label("bytes_left"),
        cast(owner.c.files_left, BigInteger).label("files_left"),
        owner.c.can_upload.label("fits"),
        owner.c.can_upload,
        cast(bindparam("sizes", type_=Text), ARRAY(BigInteger)).label("sizes"),
    ).cte("fitting", recursive=True)
    size: ColumnElement[int] = start.c.sizes[start.c.position + 1]
    fits = and_(start.c.can_upload, size <= start.c.bytes_left, start.c.files_left > 0)
    return start.union_all(
        select(
            start.c.position + 1,
            start.c.bytes_left - case((fits, size), else_=0),
            start.c.files_left - case((fits, 1), else_=0),
            fits,
            start.c.can_upload,
            start.c.sizes,
        ).where(start.c.position < func.cardinality(start.c.sizes))
    )


def _claim(placed: CTE) -> Any:
    """Return the statement that takes the key if a file is started. It is done at once, because the same statement inserts the files."""
    values: dict[str, ColumnElement[Any]] = {
        "user_id": _OWNER_ID,
        "route": bindparam("route", type_=String),
        "key": bindparam("key", type_=String),
        "fingerprint": bindparam("fingerprint", type_=String),
        "resource_id": bindparam("resource_id", type_=Uuid()),
        "is_done": true(),
        "created_at": _NOW,
        "locked_until": _NOW,
    }
    inserted = insert_or_update(IdempotencyKey).from_select(
        list(values), select(*values.values()).where(exists(select(placed.c.position))), include_defaults=False
    )
    return inserted.on_conflict_do_update(
        constraint="pk_idempotency_key",
        set_={name: inserted.excluded[name] for name in values if name not in ("user_id", "route", "key")},
        where=IdempotencyKey.created_at < bindparam("expired_before", type_=_TIME),
    )
