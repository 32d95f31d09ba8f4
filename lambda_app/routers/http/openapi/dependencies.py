"""Tells from the dependencies of a route what the document has to say about it."""

from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext


def calls_of(route: RouteContext) -> set[Any]:
    """Return the functions of all dependencies of a route, at any depth."""
    return set(_calls(route.dependant))


def _calls(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _calls(dependency)
