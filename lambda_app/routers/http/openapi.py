"""Adds to the OpenAPI document what holds for all routes and FastAPI cannot derive."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from lambda_app.dependencies.auth import get_current_user
from lambda_app.dependencies.callers import RequiredCredential
from lambda_app.routers.http.problems import problem_responses

BODY_ERROR_STATUSES = (400, 413, 415)
"""A body that is not JSON, is too large, or has another media type is refused before the route is called."""


def complete_document(app: FastAPI) -> None:
    """Add the error responses of request bodies, and mark credentials as optional where the route accepts anonymous callers."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        for route in iter_route_contexts(app.routes):
            for method in route.methods or ():
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    _complete(operation, route)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _complete(operation: dict[str, Any], route: RouteContext) -> None:
    if "requestBody" in operation:
        responses = problem_responses(*BODY_ERROR_STATUSES)
        for content in operation["requestBody"]["content"].values():
            content["schema"] = _without_null(content["schema"])
        operation["responses"] = {str(status): response for status, response in responses.items()} | operation["responses"]
    if operation.get("security") and not any(map(_refuses_anonymous, _calls(route.dependant))):
        # An empty requirement makes credentials optional (OpenAPI 3.1, Security Requirement Object).
        operation["security"] = [*(requirement for requirement in operation["security"] if requirement), {}]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an optional body: it can be left out. FastAPI writes nullable, and generated clients would send null."""
    others = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    return others[0] if len(others) == 1 else schema


def _refuses_anonymous(call: Any) -> bool:
    return call is get_current_user or isinstance(call, RequiredCredential)


def _calls(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _calls(dependency)
