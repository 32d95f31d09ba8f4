"""The credentials of each operation: access token, API key with its scope, or share pass."""

from typing import Any

from fastapi.routing import RouteContext

from lambda_app.dependencies.auth import RequiredCaller
from lambda_app.dependencies.callers import RequiredCredential
from lambda_app.dependencies.scopes import scope_of
from lambda_app.dependencies.share_links import SHARE_TOKEN_HEADER, get_link_visitor, get_visitor
from lambda_app.routers.http.openapi.dependencies import calls_of
from lambda_app.schemas.accounts.api_keys import Scope

ACCESS_TOKEN = "OAuth2Password"  # noqa: S105 - the name of a scheme
API_KEY = "ApiKey"
SHARE_PASS = "SharePass"  # noqa: S105 - the name of a scheme

SCHEMES: dict[str, dict[str, Any]] = {
    ACCESS_TOKEN: {
        "type": "oauth2",
        "description": "An access token of a session, as `Authorization: Bearer …`. It can do everything that its user can do.",
        "flows": {"password": {"tokenUrl": "/api/v1/login/token", "refreshUrl": "/api/v1/login/refresh", "scopes": {}}},
    },
    API_KEY: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "wup_…",
        "description": "An API key of `POST /api/v1/users/me/api-keys`, as `Authorization: Bearer wup_…`. Operations list the scope that "
        f"the key needs: {', '.join(f'`{scope}`' for scope in Scope)}. A key with `admin` can do everything that its owner can do.",
    },
    SHARE_PASS: {
        "type": "apiKey",
        "in": "header",
        "name": SHARE_TOKEN_HEADER,
        "description": "The `share_pass` of `POST /s/{token}`. Links with a password need it.",
    },
}


def refuses_anonymous(call: Any) -> bool:
    """Whether the dependency refuses anonymous callers."""
    return isinstance(call, RequiredCaller | RequiredCredential)


def complete(operation: dict[str, Any], route: RouteContext, method: str) -> None:
    """Replace FastAPI's security requirements by those of the operation; public operations get an empty list."""
    if not operation.get("security"):
        operation["security"] = []
        return
    scope = scope_of(method, str(route.path_format))
    calls = calls_of(route)
    operation["security"] = [{ACCESS_TOKEN: []}, {API_KEY: [] if scope is None else [str(scope)]}]
    if not calls.isdisjoint((get_visitor, get_link_visitor)):
        operation["security"].append({SHARE_PASS: []})
    if not any(map(refuses_anonymous, calls)):
        # An empty requirement makes credentials optional (OpenAPI 3.1, Security Requirement Object).
        operation["security"].append({})
