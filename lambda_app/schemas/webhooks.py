"""Models of webhooks and their deliveries."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from lambda_app.models.webhooks import WEBHOOK_DESCRIPTION_MAX_LENGTH, WEBHOOK_URL_MAX_LENGTH, DeliveryStatus
from lambda_app.schemas.base import RequestModel, ResponseModel, examples, refuse_null
from lambda_app.schemas.events import EventType
from lambda_app.schemas.text import ONE_LINE, Timestamp

Url = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=WEBHOOK_URL_MAX_LENGTH), ONE_LINE]
Description = Annotated[str, StringConstraints(strict=True, max_length=WEBHOOK_DESCRIPTION_MAX_LENGTH), ONE_LINE]


def _without_repetitions(values: list[EventType] | None) -> list[EventType] | None:
    return None if values is None else list(dict.fromkeys(values))


EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=len(EventType)), AfterValidator(_without_repetitions)]

_URL = "An https address that receives POST requests."
_EVENT_TYPES = "The types of events to send; null sends all."


class WebhookCreate(RequestModel):
    """A new webhook."""

    model_config = examples(
        {"url": "https://example.com/hooks/we-upload"},
        {"url": "https://example.com/hooks", "event_types": ["file.available", "share.downloaded"], "description": "Archive system"},
    )

    url: Url = Field(description=_URL)
    event_types: EventTypes | None = Field(default=None, description=_EVENT_TYPES)
    description: Description | None = Field(default=None, description="A text by which the owner recognises the webhook.")
    for_all_users: bool = Field(default=False, strict=True, description="Send the events of all users. Superusers only.")


class WebhookUpdate(RequestModel):
    """The fields to change; the others stay."""

    model_config = examples({"is_enabled": False}, {"event_types": ["file.available"]})

    url: Url | None = Field(default=None, description=_URL)
    event_types: EventTypes | None = Field(default=None, description=_EVENT_TYPES)
    description: Description | None = Field(default=None, description="A text by which the owner recognises the webhook.")
    is_enabled: bool | None = Field(default=None, strict=True, description="Whether events are sent. True also ends an automatic stop.")

    _refuse_null = field_validator("url", "is_enabled", mode="before")(refuse_null)

    def changes(self) -> dict[str, Any]:
        """Return the fields that the request contains."""
        return self.model_dump(exclude_unset=True)


class Webhook(ResponseModel):
    """A webhook. The secret is returned only when it is created or rotated."""

    id: UUID = Field(description="Id of the webhook.")
    url: str = Field(description=_URL)
    description: str | None = Field(description="A text by which the owner recognises the webhook.")
    event_types: list[str] | None = Field(description=_EVENT_TYPES)
    for_all_users: bool = Field(description="Whether it receives the events of all users.")
    is_enabled: bool = Field(description="Whether events are sent.")
    disabled_reason: str | None = Field(description="Why the server disabled it, such as `failing`; null if the server did not.")
    failing_since: Timestamp | None = Field(description="When the first attempt failed after the last success; null after a success.")
    previous_secret_until: Timestamp | None = Field(description="Until when the secret before the last rotation signs too.")
    created_at: Timestamp = Field(description="When it was created.")
    updated_at: Timestamp = Field(description="When it was last changed.")


class WebhookWithSecret(Webhook):
    """A webhook and its new secret, which appears in this response only."""

    secret: str = Field(repr=False, description="The key of the signature, `whsec_` and base64. Only this response contains it.")


class WebhookDelivery(ResponseModel):
    """An event that was sent or will be sent, and the last answer."""

    id: UUID = Field(description="The `webhook-id` of the message, the same in every attempt.")
    event_id: int = Field(description="Number of the event, as in `GET /events`.")
    event_type: str = Field(description="Type of the event.")
    status: DeliveryStatus = Field(description="`pending` until the receiver accepts it, `failed` after three days.")
    attempts: int = Field(description="Number of attempts since the start or the last replay.")
    next_attempt_at: Timestamp | None = Field(description="When the next attempt is due; null if none is.")
    attempted_at: Timestamp | None = Field(description="When the last attempt ended.")
    error: str | None = Field(
        description="Why the last attempt failed: `unresolved`, `private_address`, `connection_failed`, `tls_failed`, `timeout`, "
        "`bad_response`, `redirect`, `status` or `bad_url`."
    )
    response_status: int | None = Field(description="The HTTP status of the last answer.")
    response_body: str | None = Field(description="The beginning of the last answer, at most 1 kB.")
    duration_ms: int | None = Field(description="How long the last attempt took, in milliseconds.")
