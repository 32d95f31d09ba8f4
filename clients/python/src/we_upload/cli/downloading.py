"""`down`: files by id, and the files of links."""

import re
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from we_upload.cli.output import Display, UsageError, print_json, print_lines, printable, say
from we_upload.cli.parser import exit_status
from we_upload.cli.store import account, anonymous, open_journal, optional_account
from we_upload.cli.values import enter_password, is_id, read_password
from we_upload.client import Client, OwnOrigin
from we_upload.errors import NotAllowedError, NotSignedInError, UploadError
from we_upload.links import ShareLink
from we_upload.progress import Progress
from we_upload.retries import TRIES_MAX
from we_upload.transfer.destinations import split_link
from we_upload.transfer.downloads import DownloadItem

STDOUT = "-"
NAME_MAX_BYTES = 230
"""File systems allow 255 bytes; the partial file has a longer name than the file, and files of the same name get a number."""
_UNSAFE = re.compile(
    '[<>:"|?*\\\\/\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]'
    if sys.platform == "win32"
    else "[/\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def down(options: Any) -> int:
    """Download a file or the files of a link."""
    client, found = _find(options)
    client.api.tries_max = TRIES_MAX
    with client:
        progress, journal = Progress(), open_journal()
        try:
            if options.output == STDOUT:
                if len(found) != 1:
                    raise UsageError(f"-o - needs a single file, and the link has {len(found)}.")
                with Display(progress, "Downloaded"):
                    client.downloader(progress=progress).stream(found[0], sys.stdout.buffer)
                return 0
            items = _with_targets(found, options.output, is_forced=options.force)
            with Display(progress, "Downloaded"):
                results = client.downloader(journal=journal, progress=progress, lanes=options.lanes).download(items)
        finally:
            journal.close()
    failures = [result for result in results if result.error]
    if options.json:
        print_json(
            [
                {
                    "path": str(result.item.target),
                    "size_bytes": result.item.size_bytes,
                    "sha256_verified": result.is_verified,
                    **({"error": {"code": result.error.code, "message": result.error.message}} if result.error else {}),
                }
                for result in results
            ]
        )
    else:
        print_lines([str(result.item.target) for result in results if not result.error])
    for result in failures:
        message = result.error.message if result.error else ""
        say(printable(f"{result.item.target}: {message.removeprefix(f'{result.item.target}: ')}"))
    return exit_status(failures[0].error) if failures and failures[0].error else 0


def _find(options: Any) -> tuple[Client, list[DownloadItem]]:
    """Return the files, with their names as targets."""
    what = options.what
    if is_id(what):
        client = account(options).client
        file = client.file(what)
        return client, [DownloadItem(OwnOrigin(client.api, file.id), Path(local_name(file.filename)), file.size_bytes, file.sha256)]
    if re.search(r"/p/[^/]+/?$", urlsplit(what).path):
        server, file_id = split_link(what, "p")
        client = anonymous(server)
        return client, [_public_item(client, file_id)]
    if "/s/" not in what:
        raise UsageError(f"{what} is neither the id of a file nor a link such as https://files.example.com/s/TOKEN.")
    client, link = open_link(what, options)
    opened = link.open()
    wanted = re.search(r"/files/([^/]+)$", urlsplit(what).path)
    files = [file for file in opened.files if wanted is None or file.id == wanted[1]]
    if not opened.allows_download:
        raise UploadError("The owner does not allow downloads through this link.", code="share_listing_only")
    if not files:
        raise UploadError("The link has no such file.", code="link_not_found")
    return client, [DownloadItem(link.origin(file), Path(local_name(file.filename)), file.size_bytes) for file in files]


def _public_item(client: Client, file_id: str) -> DownloadItem:
    """Return a public file. Its length is in the answer to a request for its first byte."""
    answer = client.api.call("GET", f"/files/download/{file_id}").json()
    response = client.transport.request("GET", answer["download_url"], headers={"Range": "bytes=0-0"})
    if response.status not in (200, 206, 416):
        raise UploadError(f"The storage refused the download (status {response.status})")
    size_bytes = int(response.headers.get("Content-Range", "*/0").rpartition("/")[2])
    return DownloadItem(OwnOrigin(client.api, file_id), Path(local_name(answer["filename"])), size_bytes)


def open_link(url: str, options: Any) -> tuple[Client, ShareLink]:
    """Return the share link, with its password entered if it has one."""
    try:
        server, _ = split_link(url, "s")
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    password = read_password(options, is_new=False)
    client = optional_account(options, server)
    try:
        return client, _entered(client, url, password)
    except NotSignedInError:
        if client.api.credentials is None:
            raise
    # The sign-in has ended, but most links need none.
    client = anonymous(server)
    return client, _entered(client, url, password)


def _entered(client: Client, url: str, password: str | None) -> ShareLink:
    link = client.share_link(url)
    if password is None:
        try:
            link.open()
        except NotAllowedError as error:
            if error.code != "share_password_required" or not sys.stdin.isatty():
                raise
            password = enter_password(is_new=False)
    if password is not None:
        link.enter_password(password)
    return link


def local_name(name: str) -> str:
    """Return a name that is safe here: no folders, no control characters or direction marks, neither `.` nor `..`, not too long."""
    cleaned = _UNSAFE.sub("_", name).strip()
    if not cleaned.strip(". "):
        return "unnamed"
    if len(cleaned.encode()) <= NAME_MAX_BYTES:
        return cleaned
    stem, dot, extension = cleaned.rpartition(".")
    kept = f"{dot}{extension}" if stem and len(extension.encode()) <= 16 else ""
    return cleaned.encode()[: NAME_MAX_BYTES - len(kept.encode())].decode(errors="ignore") + kept


def _with_targets(items: list[DownloadItem], output: str | None, *, is_forced: bool) -> Iterable[DownloadItem]:
    """Set the paths to write to. Files of the same name get a number. Raises UsageError for a path that exists."""
    path = Path(output) if output else Path()
    if output and len(items) == 1 and not path.is_dir() and not output.endswith("/"):
        items[0].target = path
    else:
        if output:
            path.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()
        for item in items:
            item.target = path / _unused(item.target.name, taken)
    existing = [item.target for item in items if item.target.exists()]
    if existing and not is_forced:
        others = f" and {len(existing) - 1} others" if len(existing) > 1 else ""
        raise UsageError(f"{printable(str(existing[0]))}{others} would be replaced. Use --force, or another place with -o.")
    if not items[0].target.parent.is_dir():
        raise UsageError(f"{items[0].target.parent}: there is no such folder.")
    return items


def _unused(name: str, taken: set[str]) -> str:
    stem, dot, extension = name.rpartition(".")
    stem, extension = (stem, dot + extension) if stem else (name, "")
    number, candidate = 1, name
    while (key := unicodedata.normalize("NFC", candidate).casefold()) in taken:
        number += 1
        candidate = f"{stem} ({number}){extension}"
    taken.add(key)
    return candidate
