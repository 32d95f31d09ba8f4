"""Names and attributes of the cookies of one instance of the API."""

import re
from dataclasses import dataclass
from typing import Literal

from fastapi import Request, Response

from lambda_app.core.settings import Settings

HOST_PREFIX = "__Host-"
"""Browsers store a cookie with this prefix only if it is Secure, has `Path=/` and no domain (RFC 6265bis), so no other host can set it."""

_LOOPBACK = re.compile(r"localhost|127\.0\.0\.1|\[::1\]")
_HOST = re.compile(r"([^:\[\]]*|\[[0-9a-f:.]*\])(?::([0-9]{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cookie:
    """The name and attributes of a cookie that scripts cannot read, and its value in this request."""

    name: str
    path: str
    is_secure: bool
    same_site: Literal["strict", "lax"]
    value: str | None

    def set(self, response: Response, value: str, *, max_age_seconds: int) -> None:
        """Set the cookie."""
        response.set_cookie(
            self.name, value, max_age=max_age_seconds, path=self.path, secure=self.is_secure, httponly=True, samesite=self.same_site
        )

    def clear(self, response: Response) -> None:
        """Delete the cookie."""
        self.set(response, "", max_age_seconds=0)


def read_cookie(
    request: Request, settings: Settings, name: str, *, local_path: str, same_site: Literal["strict", "lax"], max_length: int
) -> Cookie:
    """Return the cookie of this instance of the API.

    Cookies do not distinguish ports, and with the prefix not paths either: the name contains the stage and the port, so that two
    instances on one host do not share it. Over plain HTTP, which only a local instance on a loopback address serves, browsers would not
    store a Secure cookie; there it is limited to `local_path`.
    """
    host, port = _host_and_port(request)
    root_path = request.scope.get("root_path", "")
    stage = root_path.strip("/").replace("/", "+")
    full_name = ".".join(part for part in (name, stage, port) if part)
    if settings.is_local and request.url.scheme == "http" and _LOOPBACK.fullmatch(host):
        path, is_secure = f"{root_path}{local_path}", False
    else:
        full_name, path, is_secure = f"{HOST_PREFIX}{full_name}", "/", True
    value = request.cookies.get(full_name)
    return Cookie(full_name, path, is_secure, same_site, value if value and len(value) <= max_length else None)


def _host_and_port(request: Request) -> tuple[str, str]:
    match = _HOST.fullmatch(request.headers.get("host", ""))
    return ("", "") if match is None else (match[1].lower(), match[2] or "")
