"""Webhook messages: their signature (Standard Webhooks 1.0), and a batch of them for one receiver with its outcome.

It needs neither the database nor AWS: in AWS, a function outside the VPC sends the batches.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Self
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.outbound.posts import TIMEOUT_SECONDS, Answer

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of secrets, not one
SECRET_BYTES = 32
BREAKER_FAILURES = 5
"""Failed attempts in a row after which the receiver counts as down: the batch ends, and later batches try one message."""
BATCH_SECONDS = 20.0
"""Time for one batch. What is left over waits for the next turn of the receiver, so that a slow one does not hold up others."""
USER_AGENT = "We-Upload-Webhooks/1"


def new_secret() -> str:
    """Return a new random secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, *, message_id: str, timestamp: int, body: str) -> str:
    """Return the signature `v1,<base64>` of a message. Raises ValueError for a malformed secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("The secret is not base64") from error
    digest = hmac.digest(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, slots=True)
class Message:
    """A message. Its id is the same in every attempt."""

    id: UUID
    body: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages for one receiver, and what is needed to send them. `id` identifies the lease of the receiver."""

    id: UUID
    webhook_id: UUID
    url: str
    secrets: Sequence[str] = field(repr=False)
    """All of them sign: after a rotation, the previous one too."""
    failure_count: int
    """Failed attempts in a row before this batch."""
    messages: Sequence[Message] = field(repr=False)
    leased_until: datetime
    """The end of the lease. A later result is dropped, and another batch has the messages."""

    def is_stale(self, now: datetime) -> bool:
        """Whether the lease may end before the result of the batch."""
        return self.leased_until <= now + timedelta(seconds=BATCH_SECONDS + TIMEOUT_SECONDS)

    def render(self) -> str:
        """Return the batch as JSON. It contains the secrets."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the batch from JSON."""
        members: dict[str, Any] = json.loads(text)
        messages = [Message(UUID(message["id"]), message["body"]) for message in members["messages"]]
        ids = {name: UUID(members[name]) for name in ("id", "webhook_id")}
        leased_until = datetime.fromisoformat(members["leased_until"])
        return cls(**{**members, **ids, "messages": messages, "leased_until": leased_until})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt. `error` is None if the receiver accepted the message."""

    message_id: UUID
    at: datetime
    error: str | None
    response_status: int | None
    response_body: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcomes of a batch. Messages without one were not sent and wait for the next turn."""

    id: UUID
    webhook_id: UUID
    outcomes: Sequence[Outcome]

    def render(self) -> str:
        """Return the result as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the result from JSON."""
        members: dict[str, Any] = json.loads(text)
        outcomes = [
            Outcome(**{**outcome, "message_id": UUID(outcome["message_id"]), "at": datetime.fromisoformat(outcome["at"])})
            for outcome in members["outcomes"]
        ]
        return cls(UUID(members["id"]), UUID(members["webhook_id"]), outcomes)


Post = Callable[[str, bytes, dict[str, str]], Answer]


def send_batch(batch: Batch, post: Post, *, budget_seconds: float = BATCH_SECONDS) -> BatchResult:
    """Send the messages one after the other until the time is up or the receiver counts as down."""
    ends_at = monotonic() + budget_seconds
    failures = batch.failure_count
    outcomes: list[Outcome] = []
    for message in batch.messages:
        if outcomes and (monotonic() >= ends_at or failures >= BREAKER_FAILURES):
            break
        # Signed anew in each attempt, because receivers refuse old timestamps.
        timestamp = int(clock.now().timestamp())
        signatures = [signature(secret, message_id=str(message.id), timestamp=timestamp, body=message.body) for secret in batch.secrets]
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": str(message.id),
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        answer = post(batch.url, message.body.encode(), headers)
        failures = 0 if answer.error is None else failures + 1
        outcomes.append(Outcome(message.id, clock.now(), answer.error, answer.status, answer.body, answer.duration_ms))
    return BatchResult(batch.id, batch.webhook_id, outcomes)
