"""The scope that an API key needs for each route. The default is `admin`, so a new route is closed to keys with narrower scopes."""

import re

from lambda_app.schemas.accounts.api_keys import Scope

_READ_METHODS = ("GET", "HEAD")
_READ_BATCHES = re.compile(r"/files/(status|downloads)$")
"""POST, because a query string would be too short for the ids."""
_OWN_ACCOUNT = re.compile(r"(/login/test-token|/users/me)$")
_ENROLMENT = re.compile(r"/users/me/(second-factor(/confirm)?|proof)$|/login/(logout|logout-everywhere|test-token)$|/session$")


def is_enrolment(method: str, route: str) -> bool:
    """Whether the route is open to a user who must set up a second factor first.

    That is: to set it up, to prove who they are for that, to sign out, to read the own account.
    """
    return _ENROLMENT.search(route) is not None or (method in _READ_METHODS and route.endswith(("/users/me", "/users/me/identities")))


def scope_of(method: str, route: str) -> Scope | None:
    """Return the scope that an API key needs for a route template; None allows any key.

    Managing shares, grants, invitations and file requests needs `shares`. Opening a link and creating an archive need `files:read`. The
    feed of events needs `events:read`: it has sign-ins and links too. Files, their storage usage and upload tokens need `files:read` or
    `files:write`, by method. Any key can read the account that it belongs to. All other routes, including changes of the account, need
    `admin`.
    """
    if re.search(r"/(shares|grants|file-requests)(/|$)|/invitations(?!/accept)(/|$)", route):
        return Scope.SHARES
    if "/s/{" in route or re.search(r"/archives(/|$)", route):
        return Scope.FILES_READ
    if re.search(r"/(files|upload-tokens)(/|$)|/usage$", route):
        is_read = method in _READ_METHODS or _READ_BATCHES.search(route)
        return Scope.FILES_READ if is_read else Scope.FILES_WRITE
    if route.endswith("/events"):
        return Scope.EVENTS_READ
    if _OWN_ACCOUNT.search(route) and (method in _READ_METHODS or route.endswith("/test-token")):
        return None
    return Scope.ADMIN
