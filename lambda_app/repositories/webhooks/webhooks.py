"""Queries on webhooks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.db.session import own_transaction
from lambda_app.models import Webhook, WebhookDelivery
from lambda_app.repositories.accounts.current_user import lock_current
from lambda_app.repositories.audit import AuditRepository, audited_change, with_event
from lambda_app.repositories.batch_delete import delete_in_batches
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once

KIND = "webhook"
_EXISTS = Webhook.deleted_at.is_(None)


class WebhookRepository:
    """Reads and writes the rows of `webhook`. Each change is audited in its transaction; addresses and secrets are not."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, webhook: Webhook, *, owner_epoch: int, webhooks_max: int) -> bool:
        """Insert the webhook and commit; False if its owner has `webhooks_max`. The lock on the user makes the limit exact.

        `owner_epoch` is the user's `token_epoch` when the request was authenticated. Raises NotAuthenticatedError if the credentials of
        the request have ended since.
        """
        with own_transaction(self._session):
            lock_current(self._session, webhook.owner_id, token_epoch=owner_epoch)
            if self._session.execute(*_count(owner_id=webhook.owner_id)).scalar_one() >= webhooks_max:
                return False
            self._session.add(webhook)
            self._session.flush()
            details = {"event_types": webhook.event_types, "for_all_users": webhook.for_all_users}
            AuditRepository(self._session).add("webhook.created", subject=f"{KIND}:{webhook.id}", details=details)
            return True

    def list_for_owner(self, owner_id: UUID) -> list[Webhook]:
        """Return the webhooks of the user, the oldest first."""
        return list(self._session.execute(*_list(owner_id=owner_id)).scalars())

    def get(self, webhook_id: UUID, *, owner_id: UUID) -> Webhook | None:
        """Return a webhook of the user."""
        return self._session.execute(*_get(webhook_id=webhook_id, owner_id=owner_id)).scalar_one_or_none()

    def update(
        self,
        webhook_id: UUID,
        *,
        owner_id: UUID,
        changes: Mapping[str, Any],
        action: str,
        fields: list[str],
        keeps_old_secret: bool = False,
    ) -> Webhook | None:
        """Change a webhook of the user, audit it as `action` and commit; None if there is none.

        With `keeps_old_secret`, the secret of the row becomes the previous one. `reencrypt-links` may have changed it meanwhile.
        """
        updated = _update(keeps_old_secret, webhook_id=webhook_id, owner_id=owner_id, now=clock.now(), **changes)
        return self._session.execute(*with_event(updated, action, details={"fields": fields})).scalar_one_or_none()

    def remove(self, webhook_id: UUID, *, owner_id: UUID) -> bool:
        """Mark a webhook of the user as deleted and stop it, audit it and commit; False if there is none. `purge` deletes the rows.

        The result of a batch that is being sent is dropped.
        """
        removed = with_event(_remove(webhook_id=webhook_id, owner_id=owner_id, now=clock.now()), "webhook.deleted")
        return self._session.execute(*removed).scalar_one_or_none() is not None

    def purge(self) -> int:
        """Delete the deliveries of deleted webhooks in batches, and the webhooks that have none left; return how many webhooks."""
        deleted = Webhook.deleted_at.is_not(None)
        delete_in_batches(self._session, WebhookDelivery, WebhookDelivery.webhook_id.in_(select(Webhook.id).where(deleted)))
        has_deliveries = exists().where(WebhookDelivery.webhook_id == Webhook.id)
        return delete_in_batches(self._session, Webhook, deleted, ~has_deliveries)


@built_once
def _count(*, owner_id: UUID) -> Select[int]:
    return select(func.count()).select_from(Webhook).where(Webhook.owner_id == owner_id, _EXISTS)


@built_once
def _list(*, owner_id: UUID) -> Select[Webhook]:
    query = select(Webhook).where(Webhook.owner_id == owner_id, _EXISTS).order_by(Webhook.created_at, Webhook.id)
    return query.execution_options(populate_existing=True)


@built_once
def _get(*, webhook_id: UUID, owner_id: UUID) -> Select[Webhook]:
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.owner_id == owner_id, _EXISTS)
    return query.execution_options(populate_existing=True)


@built_once
def _update(keeps_old_secret: bool, *, webhook_id: UUID, owner_id: UUID, now: datetime, **changes: Any) -> Select[Webhook]:
    if keeps_old_secret:
        changes = {**changes, "encrypted_previous_secret": Webhook.encrypted_secret}
    change = update(Webhook).where(Webhook.id == webhook_id, Webhook.owner_id == owner_id, _EXISTS)
    change = change.values(**changes, updated_at=now)
    statement = audited_change(change.returning(*Webhook.__table__.c), Webhook)
    return statement.execution_options(**OWN_TRANSACTION)


@built_once
def _remove(*, webhook_id: UUID, owner_id: UUID, now: datetime) -> Select[Webhook]:
    removed = update(Webhook).where(Webhook.id == webhook_id, Webhook.owner_id == owner_id, _EXISTS)
    removed = removed.values(deleted_at=now, is_enabled=False, lease_id=None, leased_until=None)
    statement = audited_change(removed.returning(*Webhook.__table__.c), Webhook)
    return statement.execution_options(**OWN_TRANSACTION)
