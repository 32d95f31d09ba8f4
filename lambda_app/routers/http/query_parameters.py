"""Refuses query parameters that a route does not have: a misspelt filter must not list everything."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant

from lambda_app.core.errors import MalformedRequestError

NAME_MAX_LENGTH = 64
"""Characters of an unknown name in the error, because the caller can send names of any length."""


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise MalformedRequestError for a query parameter that the route does not have."""
    if not request.scope["query_string"]:
        return
    known = sorted(set(query_names(request.scope["route"].dependant)))
    for name in request.query_params:
        if name not in known:
            advice = f"this route has: {', '.join(known)}" if known else "this route has none"
            raise MalformedRequestError(f"Unknown query parameter {name[:NAME_MAX_LENGTH]!r}; {advice}", code="unknown_parameter")


def query_names(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a route and, recursively, of its dependencies (filters and order of a list)."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from query_names(dependency)
