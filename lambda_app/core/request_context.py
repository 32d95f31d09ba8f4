"""Where a request comes from and who makes it: what the audit log and the throttle of sign-ins want to know."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(slots=True)
class RequestContext:
    """One request's origin. Whoever checks the credential fills in who it is."""

    source_address: str | None = None
    """The peer as the gateway saw it, or the socket locally, or what CloudFront says where only it may ask; never another header,
    which is the caller's word."""
    user_agent: str | None = None
    actor_id: UUID | None = None
    credential: str | None = None
    """`session:<id>` or `api_key:<id>`."""


_current: ContextVar[RequestContext | None] = ContextVar("origin", default=None)
set_request_context = _current.set
reset_request_context = _current.reset


def request_context() -> RequestContext:
    """Return the origin of the request being served; an empty one for commands and events."""
    return _current.get() or RequestContext()
