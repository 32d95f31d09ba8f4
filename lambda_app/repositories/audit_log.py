"""The Merkle tree over the audit log: what the sealer writes, and what verification and receipts read."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import func, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.audit_leaf import FIELDS, NO_SALT, event_leaf, field_hash, field_text, salt_of
from lambda_app.core.merkle import HASH_BYTES, root_of
from lambda_app.db.session import own_transaction, release_connection
from lambda_app.models import AuditChainEvent, AuditCheckpoint, AuditEra, AuditEvent, AuditHead, AuditLogKey, AuditTile
from lambda_app.repositories.audit import AuditRepository

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
            yield bool(self._session.execute(select(func.pg_try_advisory_xact_lock(SEALING_LOCK))).scalar_one())

    def release_connection(self) -> None:
        """Return the connection before a call to S3."""
        release_connection(self._session)

    def current_era(self) -> int:
        """Return the era that gets new events."""
        return self._session.execute(select(func.max(AuditEra.era))).scalar_one()

    def eras(self) -> list[int]:
        """Return all eras, the oldest first."""
        return list(self._session.execute(select(AuditEra.era).order_by(AuditEra.era)).scalars())

    def last_checkpoint(self, era: int) -> AuditCheckpoint | None:
        """Return the newest checkpoint of the era."""
        query = select(AuditCheckpoint).where(AuditCheckpoint.era == era).order_by(AuditCheckpoint.size.desc()).limit(1)
        return self._session.execute(query.execution_options(populate_existing=True)).scalar_one_or_none()

    def get_checkpoint(self, era: int, size: int) -> AuditCheckpoint | None:
        """Return one checkpoint."""
        query = select(AuditCheckpoint).where(AuditCheckpoint.era == era, AuditCheckpoint.size == size)
        return self._session.execute(query).scalar_one_or_none()

    def horizon(self) -> Horizon:
        """Return which transactions have ended. An open transaction holds all later ones back."""
        query = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_sequence_last_value('audit_event_seq')")
        cutoff, last_seq = self._session.execute(query).one()
        return Horizon(cutoff, last_seq or 0)

    def list_unsealed(self, era: int, *, since: int, until: int, limit: int) -> tuple[list[UnsealedEvent], int]:
        """Return the events of the transactions from `since` to `until`, and the transaction before which they end.

        They are at most `limit`, unless one transaction has more.
        """
        columns = (AuditEvent.xid, AuditEvent.seq, AuditEvent.leaf)
        query = select(*columns).where(AuditEvent.era == era, AuditEvent.xid < until).order_by(AuditEvent.xid, AuditEvent.seq)
        rows = [UnsealedEvent(*row) for row in self._session.execute(query.where(AuditEvent.xid >= since).limit(limit + 1))]
        if len(rows) <= limit:
            return rows, until
        # A transaction is sealed as a whole, because a checkpoint ends between two transactions.
        end = rows[-1].xid if rows[0].xid != rows[-1].xid else rows[-1].xid + 1
        whole = query.where(AuditEvent.xid >= since, AuditEvent.xid < end)
        return [UnsealedEvent(*row) for row in self._session.execute(whole)], end

    def find_late_event(self, checkpoint: AuditCheckpoint) -> int | None:
        """Return the number of an event that appeared in a transaction which the checkpoint had counted as ended."""
        query = select(AuditEvent.seq).where(
            AuditEvent.era == checkpoint.era, AuditEvent.seq > checkpoint.last_seq, AuditEvent.xid < checkpoint.cutoff
        )
        return self._session.execute(query.limit(1)).scalar_one_or_none()

    def oldest_unsealed_seconds(self, era: int, *, since: int) -> float:
        """Return the age of the oldest event that has no place in the tree; 0 if there is none."""
        query = select(func.min(AuditEvent.at)).where(AuditEvent.era == era, AuditEvent.xid >= since)
        oldest = self._session.execute(query).scalar_one_or_none()
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
            statement = insert(AuditTile)
            key = [AuditTile.era, AuditTile.level, AuditTile.number]
            statement = statement.on_conflict_do_update(index_elements=key, set_={"hashes": statement.excluded.hashes})
            self._session.execute(statement, rows)
            level, new = level + 1, full

    def add_checkpoint(self, checkpoint: AuditCheckpoint) -> None:
        """Insert the checkpoint."""
        self._session.add(checkpoint)
        self._session.flush()

    def add_key(self, vkey: str, era: int) -> bool:
        """Record the public key; False if it is known."""
        values = {"vkey": vkey, "era": era, "used_from": clock.now()}
        statement = insert(AuditLogKey).values(values).on_conflict_do_nothing().returning(AuditLogKey.vkey)
        return self._session.execute(statement).scalar_one_or_none() is not None

    def vkeys(self) -> list[str]:
        """Return all public keys, the newest first."""
        query = select(AuditLogKey.vkey).order_by(AuditLogKey.used_from.desc(), AuditLogKey.vkey)
        return list(self._session.execute(query).scalars())

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
            key = (AuditEvent.era == event.era, AuditEvent.xid == event.xid, AuditEvent.seq == event.seq)
            self._session.execute(update(AuditEvent).where(*key).values(changes).execution_options(synchronize_session=False))

    # Reading

    def get_event(self, seq: int) -> StoredEvent | None:
        """Return one event."""
        return self._one(AuditEvent.seq == seq)

    def find_event(self, subject: str, action: str) -> StoredEvent | None:
        """Return the newest event of the action on the subject."""
        return self._one(AuditEvent.subject == subject, AuditEvent.action == action)

    def list_events(self, subject: str, action: str, *, limit: int) -> list[StoredEvent]:
        """Return the newest events of the action on the subject."""
        query = _stored().where(AuditEvent.subject == subject, AuditEvent.action == action)
        return [_event(row) for row in self._session.execute(query.order_by(AuditEvent.seq.desc()).limit(limit))]

    def position(self, event: StoredEvent) -> int | None:
        """Return the index of the event in the tree of its era; None if it is not sealed."""
        sizes = select(AuditCheckpoint.size, AuditCheckpoint.cutoff).where(AuditCheckpoint.era == event.era)
        following = sizes.where(AuditCheckpoint.cutoff > event.xid).order_by(AuditCheckpoint.cutoff).limit(1)
        if self._session.execute(following).one_or_none() is None:
            return None
        before = sizes.where(AuditCheckpoint.cutoff <= event.xid).order_by(AuditCheckpoint.cutoff.desc()).limit(1)
        start, cutoff = self._session.execute(before).one_or_none() or (0, 0)
        place = tuple_(literal(event.xid, AuditEvent.xid.type), literal(event.seq, AuditEvent.seq.type))
        preceding = select(func.count()).where(
            AuditEvent.era == event.era, AuditEvent.xid >= cutoff, tuple_(AuditEvent.xid, AuditEvent.seq) < place
        )
        return int(start) + int(self._session.execute(preceding).scalar_one())

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
            query = _stored().where(AuditEvent.era == era).order_by(AuditEvent.xid, AuditEvent.seq).limit(READ_ROWS)
            if after is not None:
                last = tuple_(literal(after[0], AuditEvent.xid.type), literal(after[1], AuditEvent.seq.type))
                query = query.where(tuple_(AuditEvent.xid, AuditEvent.seq) > last)
            events = [_event(row) for row in self._session.execute(query)]
            yield from events
            if len(events) < READ_ROWS:
                return
            after = events[-1].xid, events[-1].seq

    def read_tiles(self, era: int) -> Iterator[AuditTile]:
        """Yield all tiles of the era by level and number."""
        query = select(AuditTile).where(AuditTile.era == era).order_by(AuditTile.level, AuditTile.number)
        yield from self._session.execute(query.execution_options(populate_existing=True)).scalars()

    def read_checkpoints(self, era: int) -> list[AuditCheckpoint]:
        """Return all checkpoints of the era, the smallest first."""
        query = select(AuditCheckpoint).where(AuditCheckpoint.era == era).order_by(AuditCheckpoint.size)
        return list(self._session.execute(query.execution_options(populate_existing=True)).scalars())

    def chain_head(self) -> AuditHead:
        """Return the end of the closed hash chain."""
        return self._session.execute(select(AuditHead).execution_options(populate_existing=True)).scalar_one()

    def read_chain(self) -> Iterator[AuditChainEvent]:
        """Yield every event of the closed hash chain."""
        after = None
        while True:
            query = select(AuditChainEvent).order_by(AuditChainEvent.seq).limit(READ_ROWS).execution_options(populate_existing=True)
            if after is not None:
                query = query.where(AuditChainEvent.seq > after)
            rows = list(self._session.execute(query).scalars())
            yield from rows
            if len(rows) < READ_ROWS:
                return
            after = rows[-1].seq
            self._session.expunge_all()

    def _tile(self, era: int, level: int, number: int) -> bytes:
        query = select(AuditTile.hashes).where(AuditTile.era == era, AuditTile.level == level, AuditTile.number == number)
        return self._session.execute(query).scalar_one_or_none() or b""

    def _one(self, *conditions: Any) -> StoredEvent | None:
        row = self._session.execute(_stored().where(*conditions).order_by(AuditEvent.seq.desc()).limit(1)).one_or_none()
        return None if row is None else _event(row)


def split_hashes(hashes: bytes) -> list[bytes]:
    """Return the single hashes of a tile."""
    return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]


def _stored() -> Any:
    table = AuditEvent.__table__.c
    return select(table.era, table.xid, table.salts, table.erased, table.leaf, *_FIELD_COLUMNS)


def _event(row: Any) -> StoredEvent:
    era, xid, salts, erased, leaf, *values = row
    return StoredEvent(era, xid, values[0], dict(zip(FIELDS, values, strict=True)), salts, json.loads(erased) if erased else {}, leaf)
