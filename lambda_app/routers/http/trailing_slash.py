"""Serves each path with and without a trailing slash, without a redirect.

A redirect would have to be created from the Host header, which the caller controls, and some clients repeat a POST as GET after one.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlashMiddleware:
    """ASGI middleware that removes a trailing slash of the path before the routes are matched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if len(path) > 1 and path.endswith("/"):
                # In place: the access log reads the matched route from this scope.
                scope["path"] = root + (path.rstrip("/") or "/")
        await self._app(scope, receive, send)
