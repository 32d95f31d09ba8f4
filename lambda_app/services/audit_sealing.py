"""The sealer of the audit log: gives the events of ended transactions their place in the Merkle tree and signs its root.

docs/adr/0028-transparency-log.md describes the order of its steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lambda_app.core import clock
from lambda_app.core.merkle import tree_root
from lambda_app.core.security.log_keys import Checkpoint, LogSigner, log_origin
from lambda_app.models import AuditCheckpoint
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.storage.checkpoint_copies import CheckpointCopies

BATCH_EVENTS = 20_000
"""Events of one transaction of the sealer. It ends within the statement timeout of the application's role."""


class LogMismatchError(Exception):
    """Database and copies disagree, or events appeared where the tree is complete. Sealing stops until an operator starts an era."""


@dataclass(frozen=True, slots=True)
class SealReport:
    """The result of a run."""

    era: int
    size: int
    """Events in the tree."""
    sealed: int
    """Events that this run added."""
    oldest_unsealed_seconds: float
    """Age of the oldest event that is not sealed. An open transaction holds back all that started after it."""
    partition_room: int
    """Numbers of events before the open partition, which is empty unless no partition could be created for long."""


class AuditSealer:
    """Seals the log. Each run continues where the last one ended, also after it was killed."""

    def __init__(
        self, *, log: AuditLogRepository, audit: AuditRepository, copies: CheckpointCopies, signer: Callable[[], LogSigner], bucket: str
    ) -> None:
        self._log = log
        self._audit = audit
        self._copies = copies
        self._signer = signer
        self._bucket = bucket

    def run(self) -> SealReport:
        """Seal all events of ended transactions. Raises LogMismatchError, UnavailableError.

        A checkpoint is committed before its copy is written. So a copy is never ahead of the database, unless the database was set
        back. A copy that is missing after a crash is written by the next run.
        """
        signer, sealed = self._signer(), 0
        room = self._log.extend_partitions()
        while True:
            era = self._log.current_era()
            last = self._log.last_checkpoint(era)
            self._log.release_connection()
            ahead = self._compare_with_copies(era, last)
            count, has_more = self._seal_batch(era, ahead, signer)
            newest = self._log.last_checkpoint(era)
            self._log.release_connection()
            if count and newest is not None:
                self._copies.put(newest.era, newest.size, newest.note)
            sealed += count
            if not has_more:
                break
        size, cutoff = (newest.size, newest.cutoff) if newest else (0, 0)
        return SealReport(era, size, sealed, self._log.oldest_unsealed_seconds(era, since=cutoff), room)

    def _compare_with_copies(self, era: int, last: AuditCheckpoint | None) -> list[tuple[int, int]]:
        """Compare the last checkpoint with its copy, or write the copy; return the copies of later checkpoints."""
        if last is None:
            return self._copies.list_after(era, 0)
        copy = self._copies.get(last.era, last.size)
        if copy is None:
            self._copies.put(last.era, last.size, last.note)
        elif copy.note != last.note:
            raise LogMismatchError(f"the checkpoint of {last.size} events in era {last.era} differs from its copy in S3")
        elif copy.was_replaced:
            raise LogMismatchError(f"the copy in S3 of the checkpoint of {last.size} events in era {last.era} was overwritten or deleted")
        else:
            self._copies.extend_lock(last.era, last.size, copy)
        return self._copies.list_after(last.era, last.size)

    def _seal_batch(self, era: int, ahead: list[tuple[int, int]], signer: LogSigner) -> tuple[int, bool]:
        """Seal one batch in one transaction; return the number of events and whether there are more.

        Seals nothing while another sealer is at work.
        """
        with self._log.sealing() as is_alone:
            if not is_alone:
                return 0, False
            for copied_era, size in ahead:
                # Another sealer may have written the copy since we read the last checkpoint.
                if self._log.get_checkpoint(copied_era, size) is None:
                    raise LogMismatchError(f"S3 has a checkpoint of {size} events in era {copied_era}, which the database has lost")
            last = self._log.last_checkpoint(era)
            horizon = self._log.horizon()
            size, since = (0, 0) if last is None else (last.size, last.cutoff)
            if horizon.cutoff < since:
                raise LogMismatchError("the transaction ids are lower than at the last checkpoint: the database was restored from a dump")
            if last is not None and (late := self._log.find_late_event(last)) is not None:
                raise LogMismatchError(f"event {late} was written below the last checkpoint")
            events, cutoff = self._log.list_unsealed(era, since=since, until=horizon.cutoff, limit=BATCH_EVENTS)
            if not events:
                return 0, False
            self._log.append_leaves(era, size=size, leaves=[event.leaf for event in events])
            size += len(events)
            root = tree_root(self._log.subtree_reader(era), size)
            origin = log_origin(self._bucket, era)
            checkpoint = Checkpoint(origin, size, root, clock.now())
            vkey = signer.verifier(origin).render()
            if self._log.add_key(vkey, era):
                self._audit.add("audit.key_used", subject=f"audit_era:{era}", details={"key": vkey})
            self._log.add_checkpoint(
                AuditCheckpoint(
                    era=era,
                    size=size,
                    cutoff=cutoff,
                    last_seq=horizon.last_seq,
                    root=root,
                    sealed_at=checkpoint.sealed_at,
                    note=signer.sign(checkpoint),
                )
            )
            return len(events), cutoff < horizon.cutoff


class AuditEras:
    """Starts an era after a restore, on the operator's command."""

    def __init__(self, *, log: AuditLogRepository, copies: CheckpointCopies) -> None:
        self._log = log
        self._copies = copies

    def start(self, *, reason: str) -> int:
        """Start the era, and record in its first event where the earlier one ended: in the database and in S3. Return its number."""
        copies: list[tuple[int, int]] = []
        while page := self._copies.list_after(*(copies[-1] if copies else (0, 0))):
            copies += page[-1:]
        newest = copies[-1] if copies else None
        copy = None if newest is None else self._copies.get(*newest)
        at_least = 1 if newest is None else newest[0] + 1
        return self._log.start_era(at_least=at_least, details={"reason": reason, "newest_copy": copy and copy.note})
