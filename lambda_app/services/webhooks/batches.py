"""The batches of deliveries: which one is sent next, and what its result means for deliveries and webhook."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

from lambda_app.core import clock
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.webhooks import BREAKER_FAILURES, Batch, BatchResult, Message, Outcome
from lambda_app.models import DeliveryStatus, User, Webhook, WebhookDelivery
from lambda_app.repositories.webhooks.deliveries import DueDelivery, WebhookDeliveryRepository
from lambda_app.services.webhooks.retries import RETRY_WITHIN, retry_delay

BATCH_MESSAGES = 50
OWNER_PAUSE = timedelta(hours=1)
"""How long deliveries wait when their owner's account may not use the webhook, before it is checked again."""
DISABLED_BECAUSE_FAILING = "failing"
DISABLED_BECAUSE_UNREADABLE = "secret_unreadable"
_PERSONAL = ("source_address", "user_agent")
"""Members that only the account itself receives, not a webhook for all users."""


class WebhookBatchService:
    """Leases webhooks, one batch each, and records the results."""

    def __init__(self, *, deliveries: WebhookDeliveryRepository, cipher: LinkTokenCipher, lease: timedelta) -> None:
        self._deliveries = deliveries
        self._cipher = cipher
        self._lease = lease

    def lease_next(self, *, leases_max: int | None = None) -> Batch | None:
        """Return the batch of the webhook that has waited longest; None if none is due. Raises UnavailableError.

        A batch whose result does not arrive within the lease is sent again. None also while `leases_max` webhooks are leased.
        """
        while True:
            with self._deliveries.transaction():
                if leases_max is not None and self._deliveries.count_leases(limit=leases_max) >= leases_max:
                    return None
                found = self._deliveries.lock_due_webhook()
                if found is None:
                    return None
                batch = self._lease_batch(*found)
                self._deliveries.save()
            if batch is not None:
                return batch

    def _lease_batch(self, webhook: Webhook, owner: User) -> Batch | None:
        now = clock.now()
        if not owner.is_active or (webhook.for_all_users and not owner.is_superuser):
            webhook.next_due_at = now + OWNER_PAUSE
            return None
        # A receiver that is down gets one attempt at a time.
        limit = 1 if webhook.failure_count >= BREAKER_FAILURES else BATCH_MESSAGES
        due = self._deliveries.list_due(webhook.id, limit=limit)
        if not due:
            webhook.next_due_at = self._deliveries.first_due_at(webhook.id)
            return None
        secret = self._cipher.decrypt(webhook.encrypted_secret, row_id=webhook.id)
        if secret is None:
            # The key was removed. A rotation of the secret enables the webhook again.
            _disable(webhook, DISABLED_BECAUSE_UNREADABLE)
            self._deliveries.record_disabling(webhook)
            return None
        secrets = [secret]
        if webhook.previous_secret_until is not None and webhook.previous_secret_until > now:
            previous = self._cipher.decrypt(webhook.encrypted_previous_secret, row_id=webhook.id)
            secrets += [] if previous is None else [previous]
        lease_id, leased_until = uuid4(), now + self._lease
        webhook.lease_id, webhook.leased_until = lease_id, leased_until
        messages = [Message(delivery.id, message_body(delivery, for_all_users=webhook.for_all_users)) for delivery in due]
        return Batch(lease_id, webhook.id, webhook.url, secrets, webhook.failure_count, messages, leased_until)

    def record(self, result: BatchResult) -> bool:
        """Record the outcomes of a batch, and end its lease; False if the lease has ended, so that the batch is sent again."""
        with self._deliveries.transaction():
            webhook = self._deliveries.lock_leased_webhook(result.webhook_id, lease_id=result.id)
            if webhook is None:
                return False
            webhook.lease_id = webhook.leased_until = None
            sent = [outcome.message_id for outcome in result.outcomes]
            pending = {delivery.id: delivery for delivery in self._deliveries.list_pending(webhook.id, sent)}
            for outcome in result.outcomes:
                _count(webhook, outcome)
                if (delivery := pending.get(outcome.message_id)) is not None:
                    _record_outcome(delivery, outcome)
            self._deliveries.save()
            now = clock.now()
            webhook.next_due_at = _later(self._deliveries.first_due_at(webhook.id), now)
            if webhook.failure_count >= BREAKER_FAILURES and webhook.next_due_at is not None:
                webhook.next_due_at = _later(webhook.next_due_at, now + retry_delay(webhook.failure_count - BREAKER_FAILURES + 1))
            if _is_dead(webhook, pending.values(), now):
                _disable(webhook, DISABLED_BECAUSE_FAILING)
                self._deliveries.record_disabling(webhook)
            self._deliveries.save()
            return True


def message_body(delivery: DueDelivery, *, for_all_users: bool) -> str:
    """Return the body of a message, the same in every attempt."""
    data = {name: value for name, value in delivery.data.items() if not (for_all_users and name in _PERSONAL)}
    # As `schemas.text.Timestamp`: UTC with six digits of a second.
    timestamp = f"{delivery.at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    members = {"type": delivery.type, "timestamp": timestamp, "event_id": delivery.event_id, "subject": delivery.subject}
    if for_all_users:
        members["user_id"] = str(delivery.owner_id)
    return json.dumps({**members, "data": data}, separators=(",", ":"))


def _count(webhook: Webhook, outcome: Outcome) -> None:
    if outcome.error is None:
        webhook.failing_since, webhook.failure_count = None, 0
    else:
        webhook.failing_since = webhook.failing_since or outcome.at
        webhook.failure_count += 1


def _record_outcome(delivery: WebhookDelivery, outcome: Outcome) -> None:
    delivery.attempts += 1
    delivery.first_attempt_at = delivery.first_attempt_at or outcome.at
    delivery.attempted_at = outcome.at
    delivery.error = outcome.error
    delivery.response_status = outcome.response_status
    delivery.response_body = outcome.response_body
    delivery.duration_ms = outcome.duration_ms
    if outcome.error is None:
        delivery.status = DeliveryStatus.DELIVERED.value
        return
    next_attempt_at = outcome.at + retry_delay(delivery.attempts)
    if next_attempt_at > delivery.first_attempt_at + RETRY_WITHIN:
        delivery.status = DeliveryStatus.FAILED.value
    else:
        delivery.next_attempt_at = next_attempt_at


def _is_dead(webhook: Webhook, sent: Iterable[WebhookDelivery], now: datetime) -> bool:
    """Whether the receiver has accepted nothing for three days, or while all attempts of a delivery failed."""
    failing_since = webhook.failing_since
    if failing_since is None:
        return False
    ended = [delivery.first_attempt_at for delivery in sent if delivery.status == DeliveryStatus.FAILED]
    return failing_since <= now - RETRY_WITHIN or any(start is not None and failing_since <= start for start in ended)


def _disable(webhook: Webhook, reason: str) -> None:
    webhook.is_enabled, webhook.disabled_reason = False, reason


def _later(time: datetime | None, other: datetime) -> datetime | None:
    return None if time is None else max(time, other)
