"""Verification of the audit log. Every leaf, tile and root is computed again here, independently of the database that wrote them."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lambda_app.core.audit_leaf import FIELDS, NO_SALT, SALT_BYTES
from lambda_app.core.merkle import GrowingRoot, consistency_proof, is_consistent, root_of
from lambda_app.core.security.log_keys import BadCheckpointError, Checkpoint, LogVerifier, open_checkpoint
from lambda_app.models import AuditCheckpoint
from lambda_app.repositories.audit_log import TILE_HASHES, AuditLogRepository, StoredEvent, split_hashes
from lambda_app.services.audit_chain import Anchor, Break, find_breaks


@dataclass(frozen=True, slots=True)
class EraSummary:
    """What a valid era contains."""

    era: int
    sealed: int
    unsealed: int
    note: str | None
    """The newest checkpoint."""


class AuditVerification:
    """Verifies the closed chain and all eras."""

    def __init__(self, *, log: AuditLogRepository) -> None:
        self._log = log
        self.summaries: list[EraSummary] = []

    def find_chain_breaks(self, anchors: Iterable[Anchor]) -> Iterator[Break]:
        """Yield every break in the closed chain, and a difference to the end that the log recorded."""
        stored = self._log.chain_head()
        head = Anchor(stored.seq, stored.hash)
        yield from find_breaks(self._log.read_chain(), head=head, anchors=anchors)
        closing = next((event for event in self._log.read_events(1) if event.values["action"] == "audit.chain_closed"), None)
        recorded = json.loads(closing.values["details"]) if closing else {}
        if recorded != {"seq": head.seq, "hash": head.hash}:
            yield Break(head.seq, "is not the end of the chain that the log recorded")

    def find_faults(self, *, keys: Sequence[LogVerifier] = (), checkpoints: Sequence[str] = ()) -> Iterator[str]:
        """Yield a sentence for every fault. `checkpoints` are signed notes that were kept elsewhere; `keys` replace the stored keys."""
        verifiers = list(keys) or [LogVerifier.parse(vkey) for vkey in self._log.vkeys()]
        kept: list[Checkpoint] = []
        for note in checkpoints:
            try:
                kept.append(open_checkpoint(note, verifiers))
            except BadCheckpointError as error:
                yield f"the given checkpoint is invalid: {error}"
        eras = self._log.eras()
        for checkpoint in kept:
            if checkpoint.era not in eras:
                yield f"the given checkpoint of {checkpoint.size} events is of era {checkpoint.era}, which the database does not have"
        erasures: dict[int, set[str]] = {}
        erased: dict[int, set[str]] = {}
        for era in eras:
            yield from self._find_era_faults(era, verifiers, [given for given in kept if given.era == era], erasures, erased)
        for seq, fields in sorted(erased.items()):
            if missing := fields - erasures.get(seq, set()):
                yield f"event {seq}: {', '.join(sorted(missing))} was erased without an event that records it"

    def _find_era_faults(
        self,
        era: int,
        verifiers: Sequence[LogVerifier],
        kept: Sequence[Checkpoint],
        erasures: dict[int, set[str]],
        erased: dict[int, set[str]],
    ) -> Iterator[str]:
        checkpoints = self._log.read_checkpoints(era)
        last = checkpoints[-1] if checkpoints else None
        cutoff = last.cutoff if last else 0
        sealed: list[tuple[bytes, int]] = []
        unsealed = 0
        for event in self._log.read_events(era):
            yield from _content_faults(event)
            if event.erased:
                erased[event.seq] = set(event.erased)
            if event.values["action"] == "audit.erased":
                seq = int(str(event.values["subject"]).rpartition(":")[2])
                erasures.setdefault(seq, set()).update(json.loads(event.values["details"])["fields"])
            if event.xid < cutoff:
                sealed.append((event.leaf, event.seq))
            else:
                unsealed += 1
        leaves: list[bytes] = []
        yield from self._read_leaves(era, leaves)
        yield from _order_faults(era, leaves, sealed)
        yield from _root_faults(era, leaves, checkpoints, verifiers, kept)
        self.summaries.append(EraSummary(era, len(leaves), unsealed, last.note if last else None))

    def _read_leaves(self, era: int, leaves: list[bytes]) -> Iterator[str]:
        """Collect the leaves of all tiles, and yield a sentence for every tile that does not follow from those below it."""
        below: list[bytes] = []
        current: list[bytes] = []
        level = 0
        for tile in self._log.read_tiles(era):
            if tile.level != level:
                below, current, level = current, [], tile.level
            hashes = split_hashes(tile.hashes)
            if tile.level == 0:
                leaves += hashes
            else:
                for offset, found in enumerate(hashes):
                    number = tile.number * TILE_HASHES + offset
                    if number >= len(below) or below[number] != found:
                        first = number * TILE_HASHES**tile.level
                        yield f"era {era}: the tree was altered at or after position {first}"
            # Full tiles only: a partial one has no hash in the level above.
            current += [root_of(hashes)] if len(hashes) == TILE_HASHES else []


def prove_consistency(log: AuditLogRepository, old: Checkpoint, new: Checkpoint) -> list[bytes] | None:
    """Return the proof that the older checkpoint is the start of the newer one; None if the log cannot prove it."""
    proof = consistency_proof(log.subtree_reader(new.era), old.size, new.size)
    is_proven = is_consistent(proof, old_size=old.size, old_root=old.root, size=new.size, root=new.root)
    return proof if is_proven else None


def _content_faults(event: StoredEvent) -> Iterator[str]:
    if event.recomputed_leaf() != event.leaf:
        yield f"event {event.seq} was altered: its fields do not match its leaf"
    for name in event.erased:
        number = FIELDS.index(name)
        if event.values[name] is not None or event.salts[number * SALT_BYTES : (number + 1) * SALT_BYTES] != NO_SALT:
            yield f"event {event.seq} was altered: {name} is marked as erased and has a value"


def _order_faults(era: int, leaves: Sequence[bytes], sealed: Sequence[tuple[bytes, int]]) -> Iterator[str]:
    """Compare the events with the leaves of the tree, and name what was removed, inserted, replaced or moved."""
    if [leaf for leaf, _ in sealed] == list(leaves):
        return
    position_of = {leaf: position for position, leaf in enumerate(leaves)}
    known: list[tuple[int, int]] = []
    """Rank among the events and position in the tree, of the events that the tree has."""
    extra: list[int] = []
    """Ranks of the events that the tree does not have, or has once only."""
    for rank, (leaf, _) in enumerate(sealed):
        position = position_of.pop(leaf, None)
        if position is None:
            extra.append(rank)
        else:
            known.append((rank, position))
    in_order = _longest_increase([position for _, position in known])
    for number, (rank, position) in enumerate(known):
        if number not in in_order:
            yield f"event {sealed[rank][1]} was moved: its place in era {era} is position {position}"
    missing = sorted(position_of.values())
    # An inserted and a removed event between the same neighbours are one that was replaced.
    bounds = [(-1, -1), *(known[number] for number in sorted(in_order)), (len(sealed), len(leaves))]
    for (low_rank, low), (high_rank, high) in pairwise(bounds):
        gone = missing[bisect_right(missing, low) : bisect_left(missing, high)]
        added = [sealed[rank][1] for rank in extra[bisect_right(extra, low_rank) : bisect_left(extra, high_rank)]]
        for position, seq in zip(gone, added, strict=False):
            yield f"event {seq} was altered or replaced: position {position} of era {era} has another leaf"
        for position in gone[len(added) :]:
            yield f"the event at position {position} of era {era} was removed; its leaf is {leaves[position].hex()}"
        for seq in added[len(gone) :]:
            yield f"event {seq} was inserted: it has no place in era {era}"


def _longest_increase(positions: Sequence[int]) -> set[int]:
    """Return the indexes of a longest increasing subsequence. The others are the fewest that can have been moved."""
    tails: list[int] = []
    tail_indexes: list[int] = []
    previous: list[int] = []
    for index, position in enumerate(positions):
        place = bisect_left(tails, position)
        previous.append(tail_indexes[place - 1] if place else -1)
        tails[place : place + 1] = [position]
        tail_indexes[place : place + 1] = [index]
    found: set[int] = set()
    index = tail_indexes[-1] if tail_indexes else -1
    while index >= 0:
        found.add(index)
        index = previous[index]
    return found


def _root_faults(
    era: int,
    leaves: Sequence[bytes],
    checkpoints: Sequence[AuditCheckpoint],
    verifiers: Sequence[LogVerifier],
    kept: Sequence[Checkpoint],
) -> Iterator[str]:
    """Compare the roots of the tree with the signed ones of the database and those that were kept elsewhere."""
    roots = _roots(leaves, {stored.size for stored in checkpoints} | {given.size for given in kept})
    before = 0
    for stored in checkpoints:
        yield from _signature_faults(stored, verifiers)
        if roots.get(stored.size) != stored.root:
            yield f"era {era}: the events at positions {before} to {stored.size - 1} differ from the signed checkpoint"
            break
        before = stored.size
    else:
        if len(leaves) > before:
            yield f"era {era}: positions {before} to {len(leaves) - 1} have no checkpoint"
    for given in kept:
        if given.size > len(leaves):
            yield f"era {era}: positions {len(leaves)} to {given.size - 1} of the given checkpoint are missing"
        elif roots[given.size] != given.root:
            yield f"era {era}: the first {given.size} events differ from the given checkpoint"


def _roots(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    tree = GrowingRoot()
    roots = {0: tree.root()}
    for leaf in leaves:
        tree.append(leaf)
        if tree.size in sizes:
            roots[tree.size] = tree.root()
    return roots


def _signature_faults(stored: AuditCheckpoint, verifiers: Sequence[LogVerifier]) -> Iterator[str]:
    try:
        signed = open_checkpoint(stored.note, verifiers)
    except BadCheckpointError as error:
        yield f"era {stored.era}: the checkpoint of {stored.size} events is invalid: {error}"
        return
    if (signed.era, signed.size, signed.root) != (stored.era, stored.size, stored.root):
        yield f"era {stored.era}: the checkpoint of {stored.size} events differs from its signed note"
