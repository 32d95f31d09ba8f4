"""Routes that are built once: each when it is first asked for, or all of them at a start that can take the time.

FastAPI builds a route (the tree of its dependencies, a validator for each parameter and answer) where it is declared, and once more
where its router is included. A cold start then pays for a hundred of them, twice, to answer by one (docs/performance.md).
"""

from collections.abc import Callable, Sequence
from copy import copy
from threading import RLock
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import Receive, Scope, Send

_building = RLock()
"""Held while a route is built: FastAPI changes the warning filters of the whole process meanwhile."""


class Router(APIRouter):
    """A router that only notes its routes; of a router's options it has these and no others."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = (), include_in_schema: bool = True) -> None:
        super().__init__(prefix=prefix, tags=[*tags], include_in_schema=include_in_schema)
        self._declared: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Note a route; the decorators come here too."""
        self._declared.append((path, endpoint, options))

    def include_router(self, router: APIRouter, **_: Any) -> None:
        """Refuse: what is declared here is built where this router is included, and nothing else is."""
        raise TypeError(f"A Router holds routes, and no router such as {router.prefix or router!r}")

    def defer_into(self, router: APIRouter, *, prefix: str, include_in_schema: bool) -> None:
        """Add the routes to another router, to be built there."""
        for path, endpoint, options in self._declared:
            shown = include_in_schema and self.include_in_schema and options.get("include_in_schema", True)
            tags = [*self.tags, *(options.get("tags") or ())]
            router.routes.append(
                DeferredRoute(router, prefix + self.prefix + path, endpoint, options | {"include_in_schema": shown, "tags": tags})
            )


class DeferredRoute(BaseRoute):
    """A route that knows its path and its methods; what serves it is built at its first request, and then takes its place."""

    def __init__(self, router: APIRouter, path: str, endpoint: Callable[..., Any], options: dict[str, Any]) -> None:
        self.path = path
        self.path_regex, self.path_format, _ = compile_path(path)
        self.methods: set[str] = set(options.get("methods") or ("GET",))
        self._router = router
        self._endpoint = endpoint
        self._options = options
        self._built: BaseRoute | None = None

    def build(self) -> BaseRoute:
        """Return the route, and put it where this one is."""
        with _building:
            if self._built is None:
                # With the router's own defaults, and out of sight of those who walk over its routes.
                workbench = copy(self._router)
                workbench.routes = []
                workbench.add_api_route(self.path, self._endpoint, **self._options)
                (self._built,) = workbench.routes
                self._router.routes[self._router.routes.index(self)] = self._built
            return self._built

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Look at the path and the method; only where both fit is the route built."""
        if scope["type"] != "http" or not self.path_regex.match(get_route_path(scope)):
            return Match.NONE, {}
        if scope["method"] not in self.methods:
            return Match.PARTIAL, {"route": self}
        return self.build().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that has matched."""
        await self.build().handle(scope, receive, send)


class Application(FastAPI):
    """A FastAPI application that builds the routes of a Router once."""

    @property
    def routes(self) -> list[BaseRoute]:
        """All routes, built: whoever looks at them, such as the OpenAPI document, wants to know all of each."""
        self.build_routes()
        return self.router.routes

    def build_routes(self) -> None:
        """Build what no request has asked for yet."""
        for route in [*self.router.routes]:
            if isinstance(route, DeferredRoute):
                route.build()

    def include_router(self, router: APIRouter, *, prefix: str = "", include_in_schema: bool = True, **options: Any) -> None:
        """Include a router."""
        if isinstance(router, Router):
            if options:
                # They would be lost without a word; a guard among them, too.
                raise TypeError(f"A Router takes no {', '.join(sorted(options))}")
            router.defer_into(self.router, prefix=prefix, include_in_schema=include_in_schema)
        else:
            super().include_router(router, prefix=prefix, include_in_schema=include_in_schema, **options)
