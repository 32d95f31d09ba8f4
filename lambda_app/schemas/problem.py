"""Models of error responses: problem documents (RFC 9457)."""

from pydantic import BaseModel


class FieldProblem(BaseModel):
    """One invalid field of a request. The submitted value is never included."""

    loc: list[str | int]
    msg: str
    type: str


class Problem(BaseModel):
    """An `application/problem+json` document. `code` is stable and meant for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldProblem] | None = None
    retry_after_seconds: int | None = None
    """With 429 and 503: when to repeat the request, as in `Retry-After`."""
