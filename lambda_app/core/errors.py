"""The one family of errors; each becomes a problem document (RFC 9457) at the edge.

A subclass fixes the HTTP status and the stable `code`; the message is safe to show to the caller.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class AppError(Exception):
    """A refusal the caller can understand.

    `extra` members are added to the problem document; `headers` to the answer.
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
    """The request cannot be understood."""

    status = 422
    code = "malformed_request"
    message = "The request is malformed"


class NotAuthenticatedError(AppError):
    """No usable proof of identity came with the request."""

    status = 401
    code = "not_authenticated"
    message = "Could not validate credentials"

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(message, code=code, headers={"WWW-Authenticate": "Bearer"})


class PermissionDeniedError(AppError):
    """The caller is known and may not do this."""

    status = 403
    code = "permission_denied"
    message = "Not enough permissions"


class NotFoundError(AppError):
    """There is no such thing for this caller."""

    status = 404
    code = "not_found"
    message = "Not found"


class ConflictError(AppError):
    """The request contradicts the current state."""

    status = 409
    code = "conflict"
    message = "The request conflicts with the current state"


class GoneError(AppError):
    """It was here and its time is over."""

    status = 410
    code = "gone"
    message = "No longer available"


class PreconditionFailedError(AppError):
    """The state is not the one that the caller made a condition of."""

    status = 412
    code = "precondition_failed"
    message = "The condition of the request does not hold"


class TooLargeError(AppError):
    """The body, or what it asks for, is over a limit."""

    status = 413
    code = "too_large"
    message = "Too large"


class TooManyRequestsError(AppError):
    """The caller has to wait; `Retry-After` says how many seconds."""

    status = 429
    code = "too_many_requests"
    message = "Too many requests"


class UnavailableError(AppError):
    """Something we depend on does not answer; the caller may try again."""

    status = 503
    code = "unavailable"
    message = "Temporarily unavailable, try again shortly"
