"""The application's error classes. The HTTP layer renders each one as a problem document (RFC 9457).

A subclass fixes the HTTP status and the stable `code`. The message is safe to show to the caller.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from lambda_app.core import clock

STARTING_RETRY_SECONDS = 5
"""When to repeat a request that found the database starting."""


class AppError(Exception):
    """Base class of all errors that are reported to the caller.

    `extra` members are added to the problem document, `headers` to the response.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    message: str = "Internal server error"

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or type(self).message
        self.code = code or type(self).code
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(self.message)


class MalformedRequestError(AppError):
    """The request is malformed."""

    status = 422
    code = "malformed_request"
    message = "The request is malformed"


class NotAuthenticatedError(AppError):
    """The request carries no valid credentials."""

    status = 401
    code = "not_authenticated"
    message = "Could not validate credentials"

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message, code=code, headers={"WWW-Authenticate": "Bearer"})


class PermissionDeniedError(AppError):
    """The caller is authenticated but lacks the permission."""

    status = 403
    code = "permission_denied"
    message = "Not enough permissions"


class NotFoundError(AppError):
    """The resource does not exist, or this caller may not know that it exists."""

    status = 404
    code = "not_found"
    message = "Not found"


class LinkNotFoundError(NotFoundError):
    """No open share link or file request has this address. The error does not reveal why, and is the same for both."""

    code = "link_not_found"
    message = "This link does not exist or is no longer available"


class ConflictError(AppError):
    """The request conflicts with the current state of the resource."""

    status = 409
    code = "conflict"
    message = "The request conflicts with the current state"


class GoneError(AppError):
    """The resource existed and is permanently gone."""

    status = 410
    code = "gone"
    message = "No longer available"


class PreconditionFailedError(AppError):
    """The precondition of the request (If-Match) does not hold."""

    status = 412
    code = "precondition_failed"
    message = "The condition of the request does not hold"


class TooLargeError(AppError):
    """The body, or the requested operation, exceeds a size limit."""

    status = 413
    code = "too_large"
    message = "Too large"


class TooManyRequestsError(AppError):
    """The caller exceeded a rate limit and must wait for the number of seconds in `Retry-After`."""

    status = 429
    code = "too_many_requests"
    message = "Too many requests"

    @classmethod
    def until(cls, time: datetime | None) -> Self:
        """Return the error for a caller who is blocked until `time`; None means for a second."""
        seconds = 1 if time is None else math.ceil((time - clock.now()).total_seconds())
        return cls(headers={"Retry-After": str(max(1, seconds))})


class UnavailableError(AppError):
    """A service that we depend on does not respond. The caller may retry."""

    status = 503
    code = "unavailable"
    message = "Temporarily unavailable, try again shortly"


class DatabaseUnavailableError(UnavailableError):
    """The database does not respond, or has no free connection. The caller may retry."""

    code = "database_unavailable"
    message = "The database does not respond at the moment; try again shortly"


class DatabaseStartingError(UnavailableError):
    """The database does not accept connections yet: it was paused, or it restarts. The request has changed nothing."""

    code = "database_starting"
    message = "The service was idle and is starting, which takes about 15 seconds; try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(STARTING_RETRY_SECONDS)})


class StoreUnavailableError(UnavailableError):
    """The object store does not respond, or rejects a request of ours. The caller may retry."""

    code = "store_unavailable"
    message = "The file storage does not respond at the moment; try again shortly"
