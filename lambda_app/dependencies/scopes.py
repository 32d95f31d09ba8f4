"""Which scope an API key needs for which route: one table, so that a route nobody thought of is closed to most keys."""

import re

from lambda_app.schemas.accounts.api_keys import Scope

_READING = ("GET", "HEAD")
_OWN_NAME = re.compile(r"(/login/test-token|/users/me)$")


def scope_of(method: str, route: str) -> Scope | None:
    """Return the scope that an API key needs for the route (its template); None is any key.

    All ways of sharing have a scope of their own where they are decided; opening a link is reading files, and so is making a zip of
    them. Files have two scopes, also for the room that they take; whose key it is may be asked by every key; everything else, the
    account itself above all, is for `admin`.
    """
    if re.search(r"/(shares|grants|file-requests)(/|$)", route):
        return Scope.SHARES
    if "/s/{" in route or re.search(r"/archives(/|$)", route):
        return Scope.FILES_READ
    if re.search(r"/files(/|$)|/usage$", route):
        return Scope.FILES_READ if method in _READING else Scope.FILES_WRITE
    if _OWN_NAME.search(route) and (method in _READING or route.endswith("/test-token")):
        return None
    return Scope.ADMIN
