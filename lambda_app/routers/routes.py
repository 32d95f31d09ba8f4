"""Routes that are built once, where they are included.

FastAPI builds a route (the tree of its dependencies, a validator for each parameter and answer) where it is declared, and once more
where its router is included (docs/performance.md).
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI


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

    def build_into(self, router: APIRouter, *, prefix: str, include_in_schema: bool) -> None:
        """Build the routes as routes of another router."""
        for path, endpoint, options in self._declared:
            shown = include_in_schema and self.include_in_schema and options.get("include_in_schema", True)
            tags = [*self.tags, *(options.get("tags") or ())]
            router.add_api_route(prefix + self.prefix + path, endpoint, **(options | {"include_in_schema": shown, "tags": tags}))


class Application(FastAPI):
    """A FastAPI application that builds the routes of a Router once."""

    def include_router(self, router: APIRouter, *, prefix: str = "", include_in_schema: bool = True, **options: Any) -> None:
        """Include a router."""
        if isinstance(router, Router):
            if options:
                # They would be lost without a word; a guard among them, too.
                raise TypeError(f"A Router takes no {', '.join(sorted(options))}")
            router.build_into(self.router, prefix=prefix, include_in_schema=include_in_schema)
        else:
            super().include_router(router, prefix=prefix, include_in_schema=include_in_schema, **options)
