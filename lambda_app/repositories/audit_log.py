"""The Merkle tree over the audit log: what the sealer writes, and what verification and receipts read."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, Update, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from lambda_app.core import clock
from lambda_app.core.audit_leaf import FIELDS, NO_SALT, event_leaf, field_hash, field_text, salt_of
from lambda_app.core.merkle import HASH_BYTES, root_of
from lambda_app.db.session import own_transaction, release_connection
from lambda_app.models import AuditChainEvent, AuditCheckpoint, AuditEra, AuditEvent, AuditHead, AuditLogKey, AuditTile
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.statements import Bound, as_column, built_once, table_of

TILE_HASHES = 256
"""Hashes in a full tile. A tile of the next level has one hash for each full tile."""
TILE_LEVELS = 8
"""Levels of the binary tree in one level of tiles."""
READ_ROWS = 20_000
"""Rows per query while events are read. Without fresh statistics, PostgreSQL sorts all that remain for each query, so there are few."""
SEALING_LOCK = 0x77757073
"""Key of the advisory lock that one sealer holds during its transaction."""

_FIELD_COLUMNS = [AuditEvent.__table__.c[name] for name in FIELDS]


class UnsealedEvent(NamedTuple):
    """An event that has no place in the tree yet."""

    xid: int
    seq: int
    leaf: bytes


class StoredEvent(NamedTuple):
    """An event with everything that its leaf is made of."""

    era: int
    xid: int
    seq: int
    values: dict[str, Any]
    salts: bytes
    erased: dict[str, str]
    leaf: bytes

    def recomputed_leaf(self) -> bytes:
        """Return the leaf that follows from the fields."""
        return event_leaf(self.values, self.salts, self.erased)

    def field_hash(self, name: str) -> bytes:
        """Return the hash of one field."""
        if name in self.erased:
            return bytes.fromhex(self.erased[name])
        return field_hash(salt_of(self.salts, name), name, field_text(self.values[name]))


class Horizon(NamedTuple):
    """What is sealable: transactions below `cutoff` have ended."""

    cutoff: int
    last_seq: int


class AuditLogRepository:
    """Reads and writes the tree. The sealer is the only writer; a lock makes sure that it is one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # Sealing

    @contextmanager
    def sealing(self) -> Iterator[bool]:
        """Open the sealer's transaction and commit it at the end; yields False if another sealer is at work."""
        with own_transaction(self._session):
            yield bool(self._session.execute(*_try_lock()).scalar_one())

    def release_connection(self) -> None:
        """Return the connection before a call to S3."""
        release_connection(self._session)

    def current_era(self) -> int:
        """Return the era that gets new events."""
        return int(self._session.execute(*_current_era()).scalar_one())

    def eras(self) -> list[int]:
        """Return all eras, the oldest first."""
        return list(self._session.execute(*_eras()).scalars())

    def last_checkpoint(self, era: int) -> AuditCheckpoint | None:
        """Return the newest checkpoint of the era."""
        return self._session.execute(*_last_checkpoint(era=era)).scalar_one_or_none()

    def get_checkpoint(self, era: int, size: int) -> AuditCheckpoint | None:
        """Return one checkpoint."""
        return self._session.execute(*_checkpoint(era=era, size=size)).scalar_one_or_none()

    def horizon(self) -> Horizon:
        """Return which transactions have ended. An open transaction holds all later ones back."""
        query = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_sequence_last_value('audit_event_seq')")
        cutoff, last_seq = self._session.execute(query).one()
        return Horizon(cutoff, last_seq or 0)

    def list_unsealed(self, era: int, *, since: int, until: int, limit: int) -> tuple[list[UnsealedEvent], int]:
        """Return the events of the transactions from `since` to `until`, and the transaction before which they end.

        They are at most `limit`, unless one transaction has more.
        """
        rows = self._unsealed(era=era, since=since, until=until, limit=limit + 1)
        if len(rows) <= limit:
            return rows, until
        # A transaction is sealed as a whole, because a checkpoint ends between two transactions.
        end = rows[-1].xid if rows[0].xid != rows[-1].xid else rows[-1].xid + 1
        return self._unsealed(era=era, since=since, until=end, limit=None), end

    def find_late_event(self, checkpoint: AuditCheckpoint) -> int | None:
        """Return the number of an event that appeared in a transaction which the checkpoint had counted as ended."""
        late = _late_event(era=checkpoint.era, last_seq=checkpoint.last_seq, cutoff=checkpoint.cutoff)
        return self._session.execute(*late).scalar_one_or_none()

    def oldest_unsealed_seconds(self, era: int, *, since: int) -> float:
        """Return the age of the oldest event that has no place in the tree; 0 if there is none."""
        oldest = self._session.execute(*_oldest(era=era, since=since)).scalar_one_or_none()
        return 0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds())

    def append_leaves(self, era: int, *, size: int, leaves: Sequence[bytes]) -> None:
        """Write the tiles of the tree that grows from `size` by the leaves."""
        level, new = 0, list(leaves)
        while new:
            number, filled = divmod(size >> (TILE_LEVELS * level), TILE_HASHES)
            hashes = self._tile(era, level, number)[: filled * HASH_BYTES] if filled else b""
            if len(hashes) != filled * HASH_BYTES:
                raise ValueError(f"The tile {number} of level {level} is incomplete")
            full: list[bytes] = []
            rows: list[dict[str, Any]] = []
            hashes += b"".join(new)
            for start in range(0, len(hashes), TILE_HASHES * HASH_BYTES):
                tile = hashes[start : start + TILE_HASHES * HASH_BYTES]
                rows.append({"era": era, "level": level, "number": number + len(rows), "hashes": tile})
                if len(tile) == TILE_HASHES * HASH_BYTES:
                    full.append(root_of(split_hashes(tile)))
            self._session.execute(_write_tiles(), rows)
            level, new = level + 1, full

    def extend_partitions(self) -> int:
        """Create the next partition when half of the newest one is used; return how many numbers are left before the open one.

        The open partition takes all higher numbers; it is in use if the result is negative. Waits for at most 0.2 s for a lock.
        """
        with own_transaction(self._session):
            return int(self._session.execute(text("SELECT audit_event_extend()")).scalar_one())

    def add_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        """Insert the checkpoint."""
        self._session.add(checkpoint)
        self._session.flush()

    def add_key(self, vkey: str, era: int) -> bool:
        """Record the public key; False if it is known."""
        return self._session.execute(*_add_key(vkey=vkey, era=era, used_from=clock.now())).scalar_one_or_none() is not None

    def vkeys(self) -> list[str]:
        """Return all public keys, the newest first."""
        return list(self._session.execute(*_vkeys()).scalars())

    # Changes by the operator, as the owner of the tables

    def start_era(self, *, at_least: int, details: dict[str, Any]) -> int:
        """Start an era, move the events that were never sealed into it, and record that; return its number.

        The lock waits for all writers and keeps new ones out until the commit.
        """
        with own_transaction(self._session):
            self._session.execute(text("LOCK TABLE audit_event IN SHARE ROW EXCLUSIVE MODE"))
            self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEALING_LOCK})
            previous = self.current_era()
            last = self.last_checkpoint(previous)
            era = max(previous + 1, at_least)
            self._session.execute(
                text("INSERT INTO audit_era VALUES (:era, :at, pg_current_xact_id()::text::bigint)"), {"era": era, "at": clock.now()}
            )
            moved = self._session.execute(
                text(
                    "UPDATE audit_event SET era = :era, xid = pg_current_xact_id()::text::bigint "
                    "WHERE era = :previous AND (xid >= :cutoff OR seq > :last_seq)"
                ),
                {
                    "era": era,
                    "previous": previous,
                    "cutoff": 0 if last is None else last.cutoff,
                    "last_seq": 0 if last is None else last.last_seq,
                },
            )
            end = None if last is None else {"size": last.size, "root": last.root.hex()}
            record = {"previous_era": previous, "previous_end": end, "moved_events": getattr(moved, "rowcount", None), **details}
            AuditRepository(self._session).add("audit.era_started", subject=f"audit_era:{era}", details=record)
        return era

    def erase(self, event: StoredEvent, fields: Sequence[str]) -> None:
        """Erase fields of an event: value and salt go, the hash stays. The erasure is an event of the same transaction."""
        with own_transaction(self._session):
            details = {"fields": sorted(fields)}
            AuditRepository(self._session).add("audit.erased", subject=f"audit_event:{event.seq}", details=details)
            erased = event.erased | {name: event.field_hash(name).hex() for name in fields}
            salts = b"".join(NO_SALT if name in erased else salt_of(event.salts, name) for name in FIELDS)
            changes = {"salts": salts, "erased": json.dumps(erased, sort_keys=True), **dict.fromkeys(fields)}
            self._session.execute(*_erase(event_era=event.era, event_xid=event.xid, event_seq=event.seq, **changes))

    # Reading

    def get_event(self, seq: int) -> StoredEvent | None:
        """Return one event."""
        return self._one(_event_at(seq=seq))

    def find_event(self, subject: str, action: str) -> StoredEvent | None:
        """Return the newest event of the action on the subject."""
        return self._one(_events_about(subject=subject, action=action, limit=1))

    def list_events(self, subject: str, action: str, *, limit: int) -> list[StoredEvent]:
        """Return the newest events of the action on the subject."""
        return [_event(row) for row in self._session.execute(*_events_about(subject=subject, action=action, limit=limit))]

    def position(self, event: StoredEvent) -> int | None:
        """Return the index of the event in the tree of its era; None if it is not sealed."""
        place = {"era": event.era, "xid": event.xid}
        if self._session.execute(*_checkpoint_after(**place)).one_or_none() is None:
            return None
        start, cutoff = self._session.execute(*_checkpoint_before(**place)).one_or_none() or (0, 0)
        return int(start) + int(self._session.execute(*_count_preceding(**place, seq=event.seq, cutoff=cutoff)).scalar_one())

    def subtree_reader(self, era: int) -> Callable[[int, int], bytes]:
        """Return the function that reads the hash of a complete subtree. It reads each tile once."""
        tiles: dict[tuple[int, int], bytes] = {}

        def read(level: int, index: int) -> bytes:
            tile_level, within = divmod(level, TILE_LEVELS)
            number, offset = divmod(index << within, TILE_HASHES)
            if (tile_level, number) not in tiles:
                tiles[tile_level, number] = self._tile(era, tile_level, number)
            start, end = offset * HASH_BYTES, (offset + (1 << within)) * HASH_BYTES
            hashes = tiles[tile_level, number][start:end]
            if len(hashes) != end - start:
                raise ValueError(f"The tile {number} of level {tile_level} is incomplete")
            return root_of(split_hashes(hashes))

        return read

    def read_events(self, era: int) -> Iterator[StoredEvent]:
        """Yield all events of the era in the order of the tree."""
        after: tuple[int, int] | None = None
        while True:
            last_xid, last_seq = after or (None, None)
            events = [
                _event(row) for row in self._session.execute(*_events(era=era, last_xid=last_xid, last_seq=last_seq, limit=READ_ROWS))
            ]
            yield from events
            if len(events) < READ_ROWS:
                return
            after = events[-1].xid, events[-1].seq

    def read_tiles(self, era: int) -> Iterator[AuditTile]:
        """Yield all tiles of the era by level and number."""
        yield from self._session.execute(*_tiles(era=era)).scalars()

    def read_checkpoints(self, era: int) -> list[AuditCheckpoint]:
        """Return all checkpoints of the era, the smallest first."""
        return list(self._session.execute(*_checkpoints(era=era)).scalars())

    def chain_head(self) -> AuditHead:
        """Return the end of the closed hash chain."""
        head: AuditHead = self._session.execute(*_chain_head()).scalar_one()
        return head

    def read_chain(self) -> Iterator[AuditChainEvent]:
        """Yield every event of the closed hash chain."""
        after = None
        while True:
            rows = list(self._session.execute(*_chain(after=after, limit=READ_ROWS)).scalars())
            yield from rows
            if len(rows) < READ_ROWS:
                return
            after = rows[-1].seq
            self._session.expunge_all()

    def _tile(self, era: int, level: int, number: int) -> bytes:
        return self._session.execute(*_tile(era=era, level=level, number=number)).scalar_one_or_none() or b""

    def _one(self, query: Bound[Select[Any]]) -> StoredEvent | None:
        row = self._session.execute(*query).one_or_none()
        return None if row is None else _event(row)

    def _unsealed(self, **bounds: Any) -> list[UnsealedEvent]:
        return [UnsealedEvent(*row) for row in self._session.execute(*_unsealed(**bounds))]


def split_hashes(hashes: bytes) -> list[bytes]:
    """Return the single hashes of a tile."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]


def _stored() -> Any:
    table = AuditEvent.__table__.c
    return select(table.era, table.xid, table.salts, table.erased, table.leaf, *_FIELD_COLUMNS)


def _event(row: Any) -> StoredEvent:
    era, xid, salts, erased, leaf, *values = row
    return StoredEvent(era, xid, values[0], dict(zip(FIELDS, values, strict=True)), salts, json.loads(erased) if erased else {}, leaf)


@built_once
def _try_lock() -> Select[bool]:
    return select(func.pg_try_advisory_xact_lock(SEALING_LOCK))


@built_once
def _current_era() -> Select[int]:
    return select(func.max(AuditEra.era))


@built_once
def _eras() -> Select[int]:
    return select(AuditEra.era).order_by(AuditEra.era)


@built_once
def _last_checkpoint(*, era: int) -> Select[AuditCheckpoint]:
    query = select(AuditCheckpoint).where(AuditCheckpoint.era == era).order_by(AuditCheckpoint.size.desc()).limit(1)
    return query.execution_options(populate_existing=True)


@built_once
def _checkpoint(*, era: int, size: int) -> Select[AuditCheckpoint]:
    return select(AuditCheckpoint).where(AuditCheckpoint.era == era, AuditCheckpoint.size == size)


@built_once
def _unsealed(*, era: int, since: int, until: int, limit: int | None) -> Select[int, int, bytes]:
    query = select(AuditEvent.xid, AuditEvent.seq, AuditEvent.leaf)
    query = query.where(AuditEvent.era == era, AuditEvent.xid >= since, AuditEvent.xid < until)
    return query.order_by(AuditEvent.xid, AuditEvent.seq).limit(limit)


@built_once
def _late_event(*, era: int, last_seq: int, cutoff: int) -> Select[int]:
    return select(AuditEvent.seq).where(AuditEvent.era == era, AuditEvent.seq > last_seq, AuditEvent.xid < cutoff).limit(1)


@built_once
def _oldest(*, era: int, since: int) -> Select[datetime]:
    unsealed = select(AuditEvent.at).where(AuditEvent.era == era, AuditEvent.xid >= since)
    # OFFSET keeps the query apart. Else PostgreSQL takes the index by time of each partition for the minimum, and reads it from its start.
    return select(func.min(unsealed.offset(0).subquery().c.at))


@cache
def _write_tiles() -> Insert:
    statement = insert(AuditTile)
    key = [AuditTile.era, AuditTile.level, AuditTile.number]
    return statement.on_conflict_do_update(index_elements=key, set_={"hashes": statement.excluded.hashes})


@built_once
def _add_key(*, vkey: str, era: int, used_from: datetime) -> ReturningInsert[str]:
    new = insert(table_of(AuditLogKey)).values(vkey=vkey, era=era, used_from=used_from)
    return new.on_conflict_do_nothing().returning(AuditLogKey.vkey)


@built_once
def _vkeys() -> Select[str]:
    return select(AuditLogKey.vkey).order_by(AuditLogKey.used_from.desc(), AuditLogKey.vkey)


@built_once
def _erase(*, event_era: int, event_xid: int, event_seq: int, **changes: Any) -> Update:
    key = (AuditEvent.era == event_era, AuditEvent.xid == event_xid, AuditEvent.seq == event_seq)
    return update(table_of(AuditEvent)).where(*key).values(changes)


@built_once
def _event_at(*, seq: int) -> Select[Any]:
    query: Select[Any] = _stored().where(AuditEvent.seq == seq)
    return query.order_by(AuditEvent.seq.desc()).limit(1)


@built_once
def _events_about(*, subject: str, action: str, limit: int) -> Select[Any]:
    query: Select[Any] = _stored().where(AuditEvent.subject == subject, AuditEvent.action == action)
    return query.order_by(AuditEvent.seq.desc()).limit(limit)


@built_once
def _checkpoint_after(*, era: int, xid: int) -> Select[int, int]:
    sizes = select(AuditCheckpoint.size, AuditCheckpoint.cutoff).where(AuditCheckpoint.era == era)
    return sizes.where(AuditCheckpoint.cutoff > xid).order_by(AuditCheckpoint.cutoff).limit(1)


@built_once
def _checkpoint_before(*, era: int, xid: int) -> Select[int, int]:
    sizes = select(AuditCheckpoint.size, AuditCheckpoint.cutoff).where(AuditCheckpoint.era == era)
    return sizes.where(AuditCheckpoint.cutoff <= xid).order_by(AuditCheckpoint.cutoff.desc()).limit(1)


@built_once
def _count_preceding(*, era: int, xid: int, seq: int, cutoff: int) -> Select[int]:
    place = tuple_(as_column(xid, AuditEvent.xid.type), as_column(seq, AuditEvent.seq.type))
    query = select(func.count()).where(AuditEvent.era == era, AuditEvent.xid >= cutoff)
    return query.where(tuple_(AuditEvent.xid, AuditEvent.seq) < place)


@built_once
def _events(*, era: int, last_xid: int | None, last_seq: int | None, limit: int) -> Select[Any]:
    query: Select[Any] = _stored().where(AuditEvent.era == era)
    if last_xid is not None:
        last = tuple_(as_column(last_xid, AuditEvent.xid.type), as_column(last_seq, AuditEvent.seq.type))
        query = query.where(tuple_(AuditEvent.xid, AuditEvent.seq) > last)
    return query.order_by(AuditEvent.xid, AuditEvent.seq).limit(limit)


@built_once
def _tiles(*, era: int) -> Select[AuditTile]:
    query = select(AuditTile).where(AuditTile.era == era).order_by(AuditTile.level, AuditTile.number)
    return query.execution_options(populate_existing=True)


@built_once
def _checkpoints(*, era: int) -> Select[AuditCheckpoint]:
    query = select(AuditCheckpoint).where(AuditCheckpoint.era == era).order_by(AuditCheckpoint.size)
    return query.execution_options(populate_existing=True)


@built_once
def _chain_head() -> Select[AuditHead]:
    return select(AuditHead).execution_options(populate_existing=True)


@built_once
def _chain(*, after: int | None, limit: int) -> Select[AuditChainEvent]:
    query = select(AuditChainEvent).order_by(AuditChainEvent.seq).limit(limit).execution_options(populate_existing=True)
    return query if after is None else query.where(AuditChainEvent.seq > after)


@built_once
def _tile(*, era: int, level: int, number: int) -> Select[bytes]:
    return select(AuditTile.hashes).where(AuditTile.era == era, AuditTile.level == level, AuditTile.number == number)
