"""Models of error responses: problem documents (RFC 9457)."""

from pydantic import BaseModel, Field


class FieldProblem(BaseModel):
    """One invalid field of a request. The submitted value is never included."""

    loc: list[str | int] = Field(description="Where the field is: `body`, `query`, `path` or `header`, then names and positions.")
    msg: str = Field(description="What is wrong, as the rest of a sentence that begins with the name of the field.")
    type: str = Field(description="The kind of error, for programs.")


class Problem(BaseModel):
    """An `application/problem+json` document. `code` is stable and meant for programs, `detail` for people."""

    type: str = Field(description="Always `about:blank`: the status and the code tell the kind of problem.")
    title: str = Field(description="Name of the HTTP status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong and what to do, for people.")
    code: str = Field(description="The error code, for programs.")
    request_id: str | None = Field(description="Id of the request, as in `X-Request-Id`.")
    errors: list[FieldProblem] | None = Field(default=None, description="The invalid fields, with the code `malformed_request`.")
    retry_after_seconds: int | None = Field(default=None, description="With 429 and 503: when to repeat the request, as in `Retry-After`.")
