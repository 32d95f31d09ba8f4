"""Receipts: events of the audit log that can be verified offline, with the public key of the log.

A receipt opens the fields that its holder may know. The others, such as the actor and the source address, are proven by their hashes only.
"""

import base64
import json
from collections.abc import Sequence
from uuid import UUID

from lambda_app.core.audit_leaf import FIELDS, field_text, salt_of
from lambda_app.core.errors import ConflictError, NotFoundError
from lambda_app.core.merkle import inclusion_proof
from lambda_app.models import File
from lambda_app.repositories.audit_log import AuditLogRepository, StoredEvent
from lambda_app.schemas.receipts import Receipt, ReceiptEvent, ReceiptField

OPENED = ("seq", "at", "action", "subject", "details")
"""The fields that a receipt shows. Events that receipts use have no personal data in them."""
RETRY_SECONDS = 60
"""Time within which the sealer seals an event, unless a transaction stays open."""


class NoReceiptError(NotFoundError):
    """The audit log has no event for the receipt: the file became available under an earlier version, or not at all."""

    code = "receipt_not_found"
    message = "There is no receipt for this file"


class ReceiptNotReadyError(ConflictError):
    """The event is not sealed yet."""

    code = "receipt_not_ready"
    message = "The receipt is not ready yet; try again in a minute"


class ReceiptService:
    """Builds receipts from sealed events."""

    def __init__(self, *, log: AuditLogRepository) -> None:
        self._log = log

    def for_file(self, file: File) -> Receipt:
        """Return the receipt of a file that became available. Raises NoReceiptError, ReceiptNotReadyError."""
        return self._receipt([self._require_event(f"file:{file.id}", "file.available")])

    def for_downloads(self, share_id: UUID, *, limit: int) -> list[Receipt]:
        """Return the receipts of the newest sealed downloads of a link, each with the event of its file if there is one."""
        receipts = []
        for download in self._log.list_events(f"share:{share_id}", "share.downloaded", limit=limit):
            if self._log.position(download) is None:
                continue
            file_id = json.loads(download.values["details"] or "{}").get("file_id")
            file = None if file_id is None else self._log.find_event(f"file:{file_id}", "file.available")
            is_sealed = file is not None and self._log.position(file) is not None
            receipts.append(self._receipt([download, file] if file is not None and is_sealed else [download]))
        return receipts

    def public_keys(self) -> str:
        """Return the public keys that have signed checkpoints, one per line, the newest first."""
        return "".join(f"{vkey}\n" for vkey in self._log.vkeys())

    def _require_event(self, subject: str, action: str) -> StoredEvent:
        event = self._log.find_event(subject, action)
        if event is None:
            raise NoReceiptError
        return event

    def _receipt(self, events: Sequence[StoredEvent]) -> Receipt:
        return Receipt(events=[self._opened(event) for event in events])

    def _opened(self, event: StoredEvent) -> ReceiptEvent:
        checkpoint = self._log.last_checkpoint(event.era)
        index = self._log.position(event)
        if checkpoint is None or index is None:
            raise ReceiptNotReadyError(headers={"Retry-After": str(RETRY_SECONDS)})
        proof = inclusion_proof(self._log.subtree_reader(event.era), index, checkpoint.size)
        return ReceiptEvent(
            fields=[_field(event, name) for name in FIELDS],
            index=index,
            proof=[_base64(sibling) for sibling in proof],
            checkpoint=checkpoint.note,
        )


def _field(event: StoredEvent, name: str) -> ReceiptField:
    if name not in OPENED or name in event.erased:
        return ReceiptField(name=name, hash=_base64(event.field_hash(name)))
    return ReceiptField(name=name, salt=_base64(salt_of(event.salts, name)), value=field_text(event.values[name]))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
