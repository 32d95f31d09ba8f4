"""A router whose routes are registered on the application itself.

FastAPI's `include_router` nests routers: each request is then matched at two levels, and `scope["route"]` lacks the prefix, which the
access log, the scopes of API keys and the `Allow` header need.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from lambda_app.routers.http.query_parameters import ParameterRoute, StrictRoute


class Router(APIRouter):
    """Collects the declarations of routes and registers them with `add_to`. It supports a prefix and tags, and no other router option."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = (), include_in_schema: bool = True) -> None:
        super().__init__(prefix=prefix, tags=[*tags], include_in_schema=include_in_schema)
        self._declarations: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Collect a declaration; the decorators (`get`, `post`, …) call this."""
        self._declarations.append((path, endpoint, options))

    def include_router(self, router: APIRouter, **_: Any) -> None:
        """Raise TypeError: nested routers are not supported."""
        raise TypeError(f"A Router cannot include another router ({router.prefix or router!r})")

    def add_to(self, app: FastAPI, *, prefix: str = "", include_in_schema: bool = True, is_strict: bool = False) -> None:
        """Register all routes on the application, below `prefix`. If `is_strict`, they refuse unknown query parameters."""
        route_class = StrictRoute if is_strict else ParameterRoute
        for path, endpoint, options in self._declarations:
            is_shown = include_in_schema and self.include_in_schema and options.get("include_in_schema", True)
            tags = [*self.tags, *(options.get("tags") or ())]
            changes = {"include_in_schema": is_shown, "tags": tags, "route_class_override": route_class}
            app.router.add_api_route(prefix + self.prefix + path, endpoint, **options | changes)
