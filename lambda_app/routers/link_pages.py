"""The pages of share links: what a link opens, how far its zip is, and every refusal, for people at a browser.

No script runs on them and nothing is loaded: the one style sheet is in the page, and the policy names it by its digest. Refusals at the
links of file requests are pages of this kind, too; what those open is in `guest_pages`.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.models import ArchiveStatus
from lambda_app.models.archive import UNFINISHED
from lambda_app.routers.page_parts import load_template, page_source, source_digest
from lambda_app.routers.problems import PROBLEM_MEDIA_TYPE
from lambda_app.routers.visitors import prefers_page
from lambda_app.schemas.archive import LinkedArchive
from lambda_app.schemas.share import OpenedShare
from lambda_app.services.share_links import NoSuchLinkError
from lambda_app.storage.content import saved_filename

_FORMS = {
    "share_password_required": "password",
    "wrong_share_password": "password",
    "not_authenticated": "sign_in",
    "bad_credentials": "sign_in",
    "email_not_verified": "sign_in",
}
"""What the page of a refusal asks for."""
_QUESTIONS = ("share_password_required", "not_authenticated")
"""Refusals that only ask; to a browser that opens the link they are no failure."""
_CLOSED = ("link_not_found", "not_found")
"""Links of shares and of file requests that are not open, for whatever reason."""
_TITLES: dict[str | int, str] = {
    "archive_not_found": "This zip is not there",
    "archive_expired": "This zip is not kept any longer",
    "too_many_archives": "Too many zips at once",
    404: "This link is not open",
    429: "Too many attempts",
    503: "Not available right now",
}
"""Of refusals, by their code or else their status."""
_ARCHIVE_TITLES = {
    ArchiveStatus.QUEUED: "The zip waits for its turn",
    ArchiveStatus.BUILDING: "The zip is being made",
    ArchiveStatus.READY: "The zip is ready",
    ArchiveStatus.FAILED: "The zip could not be made",
}
REFRESH_SECONDS = 4
"""How soon the page of an unfinished zip loads itself again: it has no script that could ask."""


def files_page(opened: OpenedShare, path: str) -> HTMLResponse:
    """Return the page of what a link at `path` opens."""
    return HTMLResponse(_render(title="Shared files", opened=opened, action=path))


def archive_page(archive: LinkedArchive, filenames: Sequence[str], path: str, *, is_watching: bool) -> HTMLResponse:
    """Return the page of how far a zip of the link at `path` is. While `is_watching` it loads itself again until that is decided."""
    is_unfinished = archive.status in UNFINISHED
    # Not all of it before it is ready: what comes last is S3 joining the parts.
    percent = min(99, 100 * archive.done_bytes // archive.size_bytes)
    # The title is what a screen reader says of every page that is loaded.
    title = _ARCHIVE_TITLES[archive.status]
    if archive.status == ArchiveStatus.BUILDING:
        title = f"{title}: {percent} %"
    page = _render(
        title=title,
        archive=archive,
        is_unfinished=is_unfinished,
        is_watching=is_watching,
        refresh_seconds=REFRESH_SECONDS,
        percent=percent,
        filenames=filenames,
        action=path,
        may_go_back=True,
    )
    # A header and no element of the page: what checks the page for accessibility cannot know that it can be stopped.
    return HTMLResponse(page, headers={"Refresh": str(REFRESH_SECONDS)} if is_unfinished and is_watching else None)


class LinkPages:
    """ASGI middleware: gives every answer to a link the headers that it lacks, and refusals a page where a browser asks for one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, dressed(scope, send))


def dressed(scope: Scope, send: Send) -> Send:
    """Return what sends the answer to a request as it is for whoever asks; that is also for what refuses it before it gets to us."""
    path = _link_path(scope)
    if path is None:
        return send
    wants_page = prefers_page(Headers(scope=scope).get("accept", ""))
    return _Dresser(send, path, is_get=scope["method"] == "GET", wants_page=wants_page).send


class _Dresser:
    """Sends on one answer. The headers of a problem wait for its body, which the page is made of."""

    def __init__(self, send: Send, path: str, *, is_get: bool, wants_page: bool) -> None:
        self._send = send
        self._path = path
        self._is_get = is_get
        self._wants_page = wants_page
        self._held: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _headers().items():
                headers.setdefault(name, value)
            headers.add_vary_header("Accept")
            if self._wants_page and headers.get("content-type") == PROBLEM_MEDIA_TYPE:
                self._held = message
                return
        if self._held is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_page(self._held, json.loads(self._body))
            return
        await self._send(message)

    async def _send_page(self, start: Message, problem: dict[str, Any]) -> None:
        status, code = problem["status"], problem["code"]
        is_question = self._is_get and code in _QUESTIONS
        page = _render(
            title="Shared files" if code in _FORMS else _TITLES.get(code) or _TITLES.get(status, "This did not work"),
            asks=_FORMS.get(code),
            action=self._path,
            message=None if is_question else NoSuchLinkError.message if code in _CLOSED else problem["detail"],
            may_go_back=code not in (*_FORMS, *_CLOSED),
        ).encode()
        headers = MutableHeaders(raw=[pair for pair in start["headers"] if pair[0] not in (b"content-type", b"content-length")])
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Length"] = str(len(page))
        await self._send({**start, "status": 200 if is_question else status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": page})


def _link_path(scope: Scope) -> str | None:
    """Return the path of the link that a request is about; None if it is about something else."""
    if scope["type"] != "http":
        return None
    root = scope.get("root_path", "")
    parts = scope["path"].removeprefix(root).split("/")
    return quote(f"{root}/{parts[1]}/{parts[2]}") if parts[:2] in (["", "s"], ["", "r"]) and len(parts) > 2 else None


@cache
def _headers() -> dict[str, str]:
    style = source_digest(page_source("link.css"))
    policy = f"default-src 'none'; style-src '{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex, nofollow",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


@cache
def _template() -> Any:
    return load_template("link.html", filters={"saved": saved_filename}, sources={"style": page_source("link.css")})


def _render(**shown: Any) -> str:
    nothing = {"opened": None, "archive": None, "asks": None, "action": "", "message": None, "may_go_back": False}
    return str(_template().render(**{**nothing, **shown}))
