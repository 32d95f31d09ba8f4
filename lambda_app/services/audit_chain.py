"""Verifying the audit log: computed here anew, apart from the database that wrote it (docs/adr/0010-audit-hash-chain.md)."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lambda_app.models import AuditEvent
from lambda_app.models.audit import GENESIS_HASH

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in the chain and its hash."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Break:
    """A row where the chain does not hold, and why."""

    seq: int
    reason: str


def find_breaks(events: Iterable[AuditEvent], *, head: Anchor, anchors: Iterable[Anchor] = ()) -> Iterator[Break]:
    """Yield every row of `events`, which come in order, where the chain does not hold.

    `head` is what the database says is the end; `anchors` are ends seen earlier and kept elsewhere, without which whoever can
    rewrite the whole table and its head goes unnoticed.
    """
    wanted = {anchor.seq: anchor.hash for anchor in anchors}
    last = Anchor(0, GENESIS_HASH)
    for event in events:
        if event.seq != last.seq + 1:
            yield Break(last.seq + 1, f"rows {last.seq + 1} to {event.seq - 1} are missing" if event.seq > last.seq + 1 else "out of order")
        elif event.previous_hash != last.hash:
            yield Break(event.seq, f"does not follow row {last.seq}: one of the two was replaced, inserted or moved")
        if event_hash(event) != event.hash:
            yield Break(event.seq, "was altered: its content is not what was hashed")
        if wanted.pop(event.seq, event.hash) != event.hash:
            yield Break(event.seq, "is not the row that was there when the anchor was taken")
        last = Anchor(event.seq, event.hash)
    if last.seq > head.seq:
        yield Break(head.seq + 1, f"was inserted: the head is at row {head.seq}")
    elif last.seq < head.seq:
        yield Break(last.seq + 1, f"rows {last.seq + 1} to {head.seq} are missing at the end")
    elif last.hash != head.hash:
        yield Break(last.seq, "is not the row that the head names")
    for seq in sorted(wanted):
        yield Break(seq, "is missing: an anchor names it")


def event_hash(event: AuditEvent) -> str:
    """Return the hash that the database's trigger has to have written: SHA-256 of the columns as a JSON array."""
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
