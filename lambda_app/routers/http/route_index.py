"""Finds the route of a request by the segments of its path, without a comparison with every route.

Starlette compares the path with the pattern of one route after another: 80 patterns, a seventh of the processor time of a `GET` of a file
(docs/performance.md, "What a request costs").
"""

from dataclasses import dataclass, field
from operator import itemgetter

from fastapi import FastAPI
from starlette.convertors import PathConvertor
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

FOUND = "we_upload.found_route"
"""Key of the scope: the route that the index found. `route` is set by FastAPI's routes only."""

_PARAMETER = "{"
"""Key of the child for a segment with a parameter."""


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    routes: list[tuple[int, BaseRoute]] = field(default_factory=list)
    """The routes whose template ends here, with their places in the order of registration."""


class RouteIndex(BaseRoute):
    """Finds the same route as a search through the list of routes, in which it comes first.

    It matches only if one of its routes matches the path and the method. All other requests are left to the list: those that get a 404 or
    a 405, and those of routes that are added later.
    """

    def __init__(self, routes: list[BaseRoute]) -> None:
        self._root = _Node()
        for place, route in enumerate(routes):
            if not isinstance(route, Route) or any(isinstance(convertor, PathConvertor) for convertor in route.param_convertors.values()):
                raise TypeError(f"Only routes whose parameters contain no slash can be indexed, not {route!r}")
            node = self._root
            for segment in route.path.split("/"):
                node = node.children.setdefault(_PARAMETER if _PARAMETER in segment else segment, _Node())
            node.routes.append((place, route))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return the match of the first route that matches fully."""
        if scope["type"] == "http":
            segments = scope["path"].removeprefix(scope.get("root_path", "")).split("/")
            for _, route in sorted(_ending_at(self._root, segments, 0), key=itemgetter(0)):
                match, child_scope = route.matches(scope)
                if match is Match.FULL:
                    child_scope[FOUND] = route
                    return match, child_scope
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request with the route that matched."""
        await scope[FOUND].handle(scope, receive, send)


def _ending_at(node: _Node, segments: list[str], position: int) -> list[tuple[int, BaseRoute]]:
    if position == len(segments):
        return node.routes
    found: list[tuple[int, BaseRoute]] = []
    for key in (segments[position], _PARAMETER):
        child = node.children.get(key)
        if child is not None:
            found += _ending_at(child, segments, position + 1)
    return found


def index_routes(app: FastAPI) -> None:
    """Index all routes that the application has now."""
    app.router.routes.insert(0, RouteIndex(list(app.router.routes)))
