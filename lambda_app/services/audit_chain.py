"""Verification of the closed hash chain, which earlier versions wrote.

The hashes are recomputed here, independently of the database that wrote them (docs/adr/0010-audit-hash-chain.md).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lambda_app.models import AuditChainEvent
from lambda_app.models.audit import GENESIS_HASH

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A position in the chain and the hash of its row."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """A row at which the chain is broken, and the reason."""

    seq: int
    reason: str


def find_breaks(events: Iterable[AuditChainEvent], *, head: Anchor, anchors: Iterable[Anchor] = ()) -> Iterator[Break]:
    """Yield every break in the chain of `events`, which must be sorted by `seq`.

    `head` is the end of the chain according to the database. `anchors` are earlier heads that were stored outside the database;
    without them, an attacker who rewrites the whole table and its head is not detected.
    """
    expected = {anchor.seq: anchor.hash for anchor in anchors}
    last = Anchor(0, GENESIS_HASH)
    for event in events:
        if event.seq != last.seq + 1:
            yield Break(last.seq + 1, f"rows {last.seq + 1} to {event.seq - 1} are missing" if event.seq > last.seq + 1 else "out of order")
        elif event.previous_hash != last.hash:
            yield Break(event.seq, f"does not link to row {last.seq}: one of the two was replaced, inserted or moved")
        if event_hash(event) != event.hash:
            yield Break(event.seq, "was altered: its content does not match its hash")
        if expected.pop(event.seq, event.hash) != event.hash:
            yield Break(event.seq, "differs from the row that the anchor recorded")
        last = Anchor(event.seq, event.hash)
    if last.seq > head.seq:
        yield Break(head.seq + 1, f"was inserted: the head is at row {head.seq}")
    elif last.seq < head.seq:
        yield Break(last.seq + 1, f"rows {last.seq + 1} to {head.seq} are missing at the end")
    elif last.hash != head.hash:
        yield Break(last.seq, "does not match the hash of the head")
    for seq in sorted(expected):
        yield Break(seq, "is missing: an anchor refers to it")


def event_hash(event: AuditChainEvent) -> str:
    """Return the hash that the database trigger must have written: SHA-256 of the columns as a JSON array."""
    columns = [
        event.seq,
        event.previous_hash,
        (event.at - _EPOCH) // timedelta(microseconds=1),
        event.action,
        None if event.actor_id is None else str(event.actor_id),
        event.credential,
        event.subject,
        event.details,
        event.source_address,
        event.request_id,
    ]
    return hashlib.sha256(json.dumps(columns, ensure_ascii=False).encode()).hexdigest()
