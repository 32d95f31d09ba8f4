"""Webhooks: receivers of events, their secrets, and what their owner can do with deliveries."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, MalformedRequestError, NotFoundError, PermissionDeniedError
from lambda_app.core.outbound.posts import BadUrlError, Target
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.webhooks import new_secret
from lambda_app.models import DeliveryStatus, ShownDelivery, User, Webhook
from lambda_app.repositories.webhooks.deliveries import WebhookDeliveryRepository
from lambda_app.repositories.webhooks.webhooks import WebhookRepository
from lambda_app.schemas.events import EventType
from lambda_app.schemas.webhooks import WebhookCreate, WebhookUpdate
from lambda_app.services.webhooks.batches import DISABLED_BECAUSE_UNREADABLE

WEBHOOKS_PER_USER = 20
OLD_SECRET_LIFETIME = timedelta(hours=24)
"""How long the secret before a rotation signs too."""


class NoSuchWebhookError(NotFoundError):
    """The caller has no such webhook."""

    code = "webhook_not_found"
    message = "Webhook not found"


class NoSuchDeliveryError(NotFoundError):
    """The webhook has no such delivery."""

    code = "webhook_delivery_not_found"
    message = "Delivery not found"


class TooManyWebhooksError(ConflictError):
    """The user has reached the limit of webhooks."""

    code = "too_many_webhooks"
    message = f"An account can have at most {WEBHOOKS_PER_USER} webhooks; delete one first"


class WebhookDisabledError(ConflictError):
    """The webhook is disabled, so nothing is sent."""

    code = "webhook_disabled"
    message = "The webhook is disabled; enable it first"


class WebhookTestPendingError(ConflictError):
    """The last test event was not delivered yet."""

    code = "webhook_test_pending"
    message = "A test of this webhook is pending; wait for its delivery, or replay it"


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """A webhook and its new secret."""

    webhook: Webhook
    secret: str = field(repr=False)


class WebhookService:
    """Creates, changes and deletes the webhooks of a user, and shows their deliveries."""

    def __init__(
        self, *, webhooks: WebhookRepository, deliveries: WebhookDeliveryRepository, cipher: LinkTokenCipher, allow_loopback: bool
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._cipher = cipher
        self._allow_loopback = allow_loopback

    def create(self, user: User, parameters: WebhookCreate) -> WebhookSecret:
        """Create a webhook.

        Raises MalformedRequestError, PermissionDeniedError, TooManyWebhooksError, NotAuthenticatedError, UnavailableError.
        """
        self._require_url(parameters.url)
        if parameters.for_all_users and not user.is_superuser:
            raise PermissionDeniedError
        webhook_id, secret, now = uuid4(), new_secret(), clock.now()
        webhook = Webhook(
            id=webhook_id,
            owner_id=user.id,
            for_all_users=parameters.for_all_users,
            url=parameters.url,
            description=parameters.description,
            event_types=parameters.event_types,
            is_enabled=True,
            encrypted_secret=self._cipher.encrypt(secret, row_id=webhook_id),
            failure_count=0,
            created_at=now,
            updated_at=now,
        )
        if not self._webhooks.add(webhook, owner_epoch=user.token_epoch, webhooks_max=WEBHOOKS_PER_USER):
            raise TooManyWebhooksError
        return WebhookSecret(webhook, secret)

    def list_webhooks(self, user: User) -> list[Webhook]:
        """Return the user's webhooks, the oldest first."""
        return self._webhooks.list_for_owner(user.id)

    def get(self, user: User, webhook_id: UUID) -> Webhook:
        """Return a webhook of the user. Raises NoSuchWebhookError."""
        webhook = self._webhooks.get(webhook_id, owner_id=user.id)
        if webhook is None:
            raise NoSuchWebhookError
        return webhook

    def update(self, user: User, webhook_id: UUID, parameters: WebhookUpdate) -> Webhook:
        """Change a webhook. Enabling it ends an automatic stop. Raises NoSuchWebhookError, MalformedRequestError."""
        changes = parameters.changes()
        fields = sorted(changes)
        if "url" in changes:
            self._require_url(changes["url"])
        if changes.get("is_enabled"):
            # What waited is sent at once. Without deliveries, the next batch finds none and clears the time.
            changes |= _enabling()
        elif changes.get("is_enabled") is False:
            changes["disabled_reason"] = None
        return self._changed(user, webhook_id, changes, action="webhook.updated", fields=fields)

    def rotate_secret(self, user: User, webhook_id: UUID) -> WebhookSecret:
        """Replace the secret; the old one signs too for a day, unless it is unreadable. Raises NoSuchWebhookError, UnavailableError.

        A webhook that was disabled because of an unreadable secret is enabled again.
        """
        webhook, secret = self.get(user, webhook_id), new_secret()
        changes: dict[str, object] = {
            "encrypted_secret": self._cipher.encrypt(secret, row_id=webhook_id),
            "previous_secret_until": clock.now() + OLD_SECRET_LIFETIME,
        }
        is_readable = webhook.disabled_reason != DISABLED_BECAUSE_UNREADABLE
        if not is_readable:
            changes |= {"encrypted_previous_secret": None, "previous_secret_until": None, "is_enabled": True, **_enabling()}
        rotated = self._changed(user, webhook_id, changes, action="webhook.secret_rotated", fields=["secret"], keeps_old_secret=is_readable)
        return WebhookSecret(rotated, secret)

    def delete(self, user: User, webhook_id: UUID) -> None:
        """Delete a webhook and its deliveries. Raises NoSuchWebhookError."""
        if not self._webhooks.remove(webhook_id, owner_id=user.id):
            raise NoSuchWebhookError

    def send_test(self, user: User, webhook_id: UUID) -> ShownDelivery:
        """Queue an event of the type `webhook.test` for this webhook only.

        Raises NoSuchWebhookError, WebhookDisabledError, WebhookTestPendingError.
        """
        webhook = self._require_enabled(user, webhook_id)
        added = self._deliveries.add_test(webhook, event_type=EventType.WEBHOOK_TEST, data={"webhook_id": str(webhook_id)})
        if added is None:
            raise WebhookTestPendingError
        return added

    def page_deliveries(
        self, user: User, webhook_id: UUID, *, before: int | None, limit: int, status: DeliveryStatus | None
    ) -> list[ShownDelivery]:
        """Return deliveries of a webhook, the newest event first. Raises NoSuchWebhookError."""
        self.get(user, webhook_id)
        return self._deliveries.page(webhook_id, before=before, limit=limit, status=status)

    def replay(self, user: User, webhook_id: UUID, delivery_id: UUID) -> ShownDelivery:
        """Send a delivery again, with the same id. Raises NoSuchWebhookError, NoSuchDeliveryError, WebhookDisabledError."""
        self._require_enabled(user, webhook_id)
        delivery = self._deliveries.replay(webhook_id, delivery_id)
        if delivery is None:
            raise NoSuchDeliveryError
        return delivery

    def _changed(self, user: User, webhook_id: UUID, changes: dict[str, object], **options: Any) -> Webhook:
        webhook = self._webhooks.update(webhook_id, owner_id=user.id, changes=changes, **options)
        if webhook is None:
            raise NoSuchWebhookError
        return webhook

    def _require_enabled(self, user: User, webhook_id: UUID) -> Webhook:
        webhook = self.get(user, webhook_id)
        if not webhook.is_enabled:
            raise WebhookDisabledError
        return webhook

    def _require_url(self, url: str) -> None:
        try:
            Target.parse(url, allow_loopback=self._allow_loopback)
        except BadUrlError as error:
            raise MalformedRequestError(f"url {error}", code="bad_webhook_url") from error


def _enabling() -> dict[str, object]:
    """Return the changes that end an automatic stop."""
    return {"disabled_reason": None, "failing_since": None, "failure_count": 0, "next_due_at": clock.now()}
