"""The shape of every error: a problem document (RFC 9457)."""

from pydantic import BaseModel


class FieldProblem(BaseModel):
    """One thing that is wrong with a request, and where. The offending value is never echoed."""

    loc: list[str | int]
    msg: str
    type: str


class Problem(BaseModel):
    """`application/problem+json`; `code` is stable and for programs, `detail` for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldProblem] | None = None
