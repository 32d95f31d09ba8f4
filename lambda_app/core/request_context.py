"""Source and caller of the current request, for the audit log and the sign-in throttle."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class RequestContext:
    """Source and caller of one request. Authentication sets `actor_id`, `credential` and `scopes`."""

    source_address: str | None = None
    """Peer address reported by API Gateway, or of the socket in local mode, or the viewer address from CloudFront when only CloudFront
    can reach the API. Never taken from other headers, which the caller controls."""
    user_agent: str | None = None
    actor_id: UUID | None = None
    """The authenticated user."""
    credential: str | None = None
    """`session:<id>`, `api_key:<id>` or `upload_token:<id>`."""
    scopes: frozenset[str] | None = None
    """The scopes of the API key; None for a session, which has all of them, and for commands."""
    audit_leaves: list[str] = field(default_factory=list)
    """The leaves of the audit events that the request has committed, in hex. They are logged, and so leave the database at once."""


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
set_request_context = _current.set
reset_request_context = _current.reset


def current_session_id() -> UUID | None:
    """Return the id of the session that authenticated the current request; None for an API key."""
    kind, _, identity = (request_context().credential or "").partition(":")
    return UUID(identity) if kind == "session" else None


def request_context() -> RequestContext:
    """Return the context of the current request. For commands and event handlers it is empty."""
    return _current.get() or RequestContext()
