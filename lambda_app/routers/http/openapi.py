"""What the OpenAPI document says of every route alike, and FastAPI does not know."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from lambda_app.dependencies.auth import get_current_user
from lambda_app.routers.http.problems import problem_responses

REFUSALS_OF_BODIES = (400, 413)
"""A body that is no JSON at all, and one that is too large, are refused before the route is asked."""


def complete_document(app: FastAPI) -> None:
    """Have the application's document say which refusals any body may meet, and where credentials may be left out."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        for route in iter_route_contexts(app.routes):
            for method in route.methods or ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    _complete(operation, route)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _complete(operation: dict[str, Any], route: RouteContext) -> None:
    if "requestBody" in operation:
        refusals = problem_responses(*REFUSALS_OF_BODIES)
        operation["responses"] = {str(status): refusal for status, refusal in refusals.items()} | operation["responses"]
    if operation.get("security") and get_current_user not in _calls(route.dependant):
        # The empty requirement (OpenAPI 3.1, Security Requirement Object): credentials are looked at if there are any.
        operation["security"] = [*(needed for needed in operation["security"] if needed), {}]


def _calls(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _calls(dependency)
