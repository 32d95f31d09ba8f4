"""The routes that cost a password hash or hold a copy of the function. The gateway has a lower rate limit for each of them."""

import re
from functools import cache

COSTLY_ROUTES = (
    *(
        f"POST {prefix}/login/{path}"
        for prefix in ("/api/v1", "")
        for path in ("token", "forgot-password", "verification", "reset-password")
    ),
    "POST /api/v1/users",
    "POST /s/{token}",
    "POST /api/v1/session",
    "PUT /api/v1/users/me",
    "PUT /api/v1/users/{user_id}",
    "POST /api/v1/shares",
    "PATCH /api/v1/shares/{share_id}",
    "POST /api/v1/files/{file_id}/shares",
    "PATCH /api/v1/users/me",
    "PATCH /api/v1/users/{user_id}",
    "POST /api/v1/login/verify-email",
    "POST /login/verify-email",
    "POST /api/v1/users/me/second-factor",
    "POST /api/v1/users/me/second-factor/recovery-codes",
    "POST /api/v1/users/me/second-factor/disable",
    "POST /api/v1/users/{user_id}/second-factor/reset",
    "DELETE /api/v1/users/me",
    "DELETE /api/v1/users/{user_id}",
    "POST /api/v1/users/me/proof",
    "POST /api/v1/invitations/accept",
    "POST /api/v1/users/me/export",
    "POST /api/v1/users/{user_id}/transfer",
)
"""As the gateway's route keys. Add new routes at the end: the gateway's resources are named by their position."""
SLASH_ROUTES = ("POST /api/v1/users/",)
"""Documented spellings for which the gateway can have no route of their own. The rate limit of all routes applies to them."""


def is_costly(method: str, path: str) -> bool:
    """Whether the decoded path, with or without a slash at its end, is that of a costly route."""
    key = f"{method} {path}"
    return key not in SLASH_ROUTES and _pattern().fullmatch(key) is not None


@cache
def _pattern() -> re.Pattern[str]:
    routes = (re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route)) for route in COSTLY_ROUTES)
    return re.compile(f"(?:{'|'.join(routes)})/*")
