"""The errors of the library. Each has a stable `code` for programs, a sentence for people, and advice where there is any."""

from collections.abc import Mapping
from typing import Any

ADVICE = {
    "not_authenticated": "Sign in again: we-upload login",
    "bad_credentials": "Check the e-mail address and the password.",
    "bad_refresh_token": "The session has ended. Sign in again: we-upload login",
    "refresh_token_reused": "The session has ended. Sign in again: we-upload login",
    "refresh_token_superseded": "The session has ended. Sign in again: we-upload login",
    "second_factor_required": "Enter a code of the authenticator app, or a recovery code.",
    "bad_second_factor": "Enter a code that you have not used, or a recovery code.",
    "email_not_verified": "Open the link in the mail from the server, then sign in again.",
    "insufficient_scope": "Use an API key with the scopes files:read, files:write and shares.",
    "quota_exceeded": "Delete files that you no longer need (the trash counts too), or request a larger quota from the operator.",
    "deletion_allowance_used": "Wait until the time in Retry-After, or contact the operator.",
    "too_many_attempts": "Wait before you try again.",
    "link_not_found": "Check the link. It may have expired, been revoked, or reached its download limit.",
    "file_request_not_found": "Check the link. It may have expired or been revoked.",
    "file_not_available": "Its upload is not finished, or it is in the trash: we-upload ls --status trashed",
    "files_not_available": "The upload of some is not finished, or they are in the trash: we-upload ls --status trashed",
    "file_request_full": "Request a new link from its owner.",
    "share_password_required": "Enter the password of the link: --password",
    "wrong_share_password": "Check the password of the link.",
    "share_listing_only": "The owner does not allow downloads through this link.",
    "upload_lost": "Delete the file and upload it again.",
    "upload_rejected": "Upload the file again.",
    "idempotent_file_gone": "Upload the file again.",
    "database_unavailable": "Try again in a minute.",
    "database_starting": "Try again in a minute.",
    "store_unavailable": "Try again in a minute.",
    "connection_failed": "Check the network and the address of the server, then run the same command again; it continues where it stopped.",
    "file_changed": "Upload the file again once no other program writes to it.",
    "digest_mismatch": "Delete the file and download it again. If this repeats, contact the owner of the file.",
}
"""What a caller can do about an error, by code."""


class UploadError(Exception):
    """Base class of all errors of this library."""

    code = "upload_failed"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code

    @property
    def advice(self) -> str | None:
        """What to do about the error, or None."""
        return ADVICE.get(self.code)


class ConnectionFailedError(UploadError):
    """No answer: the host is unknown, refuses connections, or does not respond in time."""

    code = "connection_failed"


class FileChangedError(UploadError):
    """The local file has changed since its upload began."""

    code = "file_changed"


class StorageRefusedError(UploadError):
    """The object store refused a request. `status` is its HTTP status, `reason` the code of S3."""

    code = "storage_refused"

    def __init__(self, status: int, reason: str | None) -> None:
        super().__init__(f"The storage refused the request (status {status}{f', {reason}' if reason else ''})")
        self.status = status
        self.reason = reason


class DigestMismatchError(UploadError):
    """The downloaded bytes do not have the expected length or SHA-256."""

    code = "digest_mismatch"


class CancelledError(UploadError):
    """The transfer was cancelled, for example with Ctrl-C."""

    code = "cancelled"


class ProblemError(UploadError):
    """The server answered with an error (RFC 9457).

    `status` is the HTTP status, `extra` has the further members of the answer, `retry_after_seconds` is the wait that the server requests.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after_seconds: float | None = None) -> None:
        detail = str(problem.get("detail") or problem.get("title") or f"The server answered with status {status}")
        super().__init__(detail, code=str(problem.get("code") or f"http_{status}"))
        self.status = status
        self.extra = {name: value for name, value in problem.items() if name not in ("type", "title", "detail", "status", "code")}
        self.request_id: str | None = problem.get("request_id")
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (429, 502, 503, 504) or self.code in ("idempotency_key_in_flight", "upload_withheld")


class MalformedRequestError(ProblemError):
    """400, 415, 422: a value in the request is not valid."""


class NotSignedInError(ProblemError):
    """401: no credentials, or credentials that are no longer valid."""


class NotAllowedError(ProblemError):
    """403: the caller lacks the permission or the scope."""


class NotFoundError(ProblemError):
    """404, 410: the resource does not exist, has expired, or is hidden from the caller."""


class ConflictError(ProblemError):
    """409, 412: the state of the resource does not allow the request."""


class LimitExceededError(ProblemError):
    """413: the file is too large, or the quota is used up."""


class RateLimitedError(ProblemError):
    """429: too many requests."""


class ServerError(ProblemError):
    """5xx: the server, its database or its object store did not respond."""


_CLASSES: dict[int, type[ProblemError]] = {
    400: MalformedRequestError,
    401: NotSignedInError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    412: ConflictError,
    413: LimitExceededError,
    415: MalformedRequestError,
    422: MalformedRequestError,
    429: RateLimitedError,
}


def problem_error(status: int, problem: Mapping[str, Any], *, retry_after_seconds: float | None = None) -> ProblemError:
    """Return the error for an answer of the server."""
    kind = _CLASSES.get(status, ServerError if status >= 500 else ProblemError)
    return kind(status, problem, retry_after_seconds=retry_after_seconds)
