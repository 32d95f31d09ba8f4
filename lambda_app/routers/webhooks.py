"""Routes of the caller's webhooks."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import WebhooksDep
from lambda_app.models import DeliveryStatus, ShownDelivery
from lambda_app.routers.http.paging import LimitQuery
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.text import ONLY_DIGITS
from lambda_app.schemas.webhooks import Webhook, WebhookCreate, WebhookDelivery, WebhookUpdate, WebhookWithSecret
from lambda_app.services.webhooks.webhooks import WebhookSecret

router = Router(prefix="/webhooks", tags=["webhooks"])

BeforeQuery = Annotated[
    int | None, Query(ge=1, le=2**63 - 1, description="The `event_id` of the last delivery on the previous page."), ONLY_DIGITS
]
StatusQuery = Annotated[DeliveryStatus | None, Query(description="Only deliveries with this status.")]


@router.post(
    "",
    status_code=201,
    response_model=WebhookWithSecret,
    responses=problem_responses("permission_denied", "too_many_webhooks", "bad_webhook_url"),
)
def create_webhook(parameters: WebhookCreate, user: CurrentUserDep, webhooks: WebhooksDep, response: Response) -> WebhookWithSecret:
    """Create a webhook, which receives events as signed POST requests (Standard Webhooks).

    The secret is returned only in this response; store it now. docs/webhooks.md describes how to verify a message.
    """
    return _with_secret(webhooks.create(user, parameters), response)


@router.get("", response_model=list[Webhook], responses=problem_responses())
def list_webhooks(user: CurrentUserDep, webhooks: WebhooksDep) -> list[models.Webhook]:
    """List the caller's webhooks, oldest first. The secrets are not returned."""
    return webhooks.list_webhooks(user)


@router.get("/{webhook_id}", response_model=Webhook, responses=problem_responses("webhook_not_found"))
def get_webhook(webhook_id: UUID, user: CurrentUserDep, webhooks: WebhooksDep) -> models.Webhook:
    """Read a webhook."""
    return webhooks.get(user, webhook_id)


@router.patch("/{webhook_id}", response_model=Webhook, responses=problem_responses("webhook_not_found", "bad_webhook_url"))
def update_webhook(webhook_id: UUID, parameters: WebhookUpdate, user: CurrentUserDep, webhooks: WebhooksDep) -> models.Webhook:
    """Change the address, the types of events, the description, or whether events are sent.

    While a webhook is disabled, it gets no new deliveries. Those that were pending are sent when it is enabled again.
    """
    return webhooks.update(user, webhook_id, parameters)


@router.delete("/{webhook_id}", status_code=204, responses=problem_responses("webhook_not_found"))
def delete_webhook(webhook_id: UUID, user: CurrentUserDep, webhooks: WebhooksDep) -> None:
    """Delete a webhook and its deliveries."""
    webhooks.delete(user, webhook_id)


@router.post("/{webhook_id}/rotate-secret", response_model=WebhookWithSecret, responses=problem_responses("webhook_not_found"))
def rotate_webhook_secret(webhook_id: UUID, user: CurrentUserDep, webhooks: WebhooksDep, response: Response) -> WebhookWithSecret:
    """Replace the secret. For 24 hours, messages carry the signatures of both secrets."""
    return _with_secret(webhooks.rotate_secret(user, webhook_id), response)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    response_model=WebhookDelivery,
    responses=problem_responses("webhook_not_found", "webhook_disabled", "webhook_test_pending"),
)
def test_webhook(webhook_id: UUID, user: CurrentUserDep, webhooks: WebhooksDep) -> WebhookDelivery:
    """Send an event of the type `webhook.test`. The list of deliveries shows the answer, after a few seconds to two minutes."""
    return _shown(webhooks.send_test(user, webhook_id))


@router.get("/{webhook_id}/deliveries", response_model=list[WebhookDelivery], responses=problem_responses("webhook_not_found"))
def list_webhook_deliveries(
    webhook_id: UUID,
    user: CurrentUserDep,
    webhooks: WebhooksDep,
    limit: LimitQuery = 50,
    before: BeforeQuery = None,
    status: StatusQuery = None,
) -> list[WebhookDelivery]:
    """List deliveries of the last 30 days, the newest event first, with the last answer of each. `before` leads to the next page."""
    return [_shown(delivery) for delivery in webhooks.page_deliveries(user, webhook_id, before=before, limit=limit, status=status)]


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=WebhookDelivery,
    responses=problem_responses("webhook_not_found", "webhook_delivery_not_found", "webhook_disabled"),
)
def replay_webhook_delivery(webhook_id: UUID, delivery_id: UUID, user: CurrentUserDep, webhooks: WebhooksDep) -> WebhookDelivery:
    """Send a delivery again, with the same `webhook-id`, and with retries for three days."""
    return _shown(webhooks.replay(user, webhook_id, delivery_id))


def _with_secret(changed: WebhookSecret, response: Response) -> WebhookWithSecret:
    response.headers["Cache-Control"] = "no-store"
    return WebhookWithSecret(**Webhook.model_validate(changed.webhook).model_dump(), secret=changed.secret)


def _shown(shown: ShownDelivery) -> WebhookDelivery:
    delivery = shown.delivery
    is_pending = delivery.status == DeliveryStatus.PENDING
    fields = {name: getattr(delivery, name) for name in WebhookDelivery.model_fields if name not in ("event_type", "next_attempt_at")}
    return WebhookDelivery(**fields, event_type=shown.event_type, next_attempt_at=delivery.next_attempt_at if is_pending else None)
