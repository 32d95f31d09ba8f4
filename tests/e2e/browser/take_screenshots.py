"""Takes the screenshots in docs/screenshots, for `make screenshots`: the web app with real files, on a desktop and on a phone."""

import struct
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text as sql

from infra.local.state import CHECKOUT
from infra.local.workers import running_workers
from lambda_app.core import clock
from tests.e2e.browser.conftest import Site
from tests.support.accounts import Account, make_account, make_file
from tests.support.shares import make_share

Steps = list[dict[str, Any]]
FOLDER = CHECKOUT / "docs" / "screenshots"
PNG_MAX_BYTES = 150_000
VARIANTS: dict[str, dict[str, Any]] = {
    "desktop-light": {"width": 1280, "height": 800},
    "phone-dark": {"width": 390, "height": 844, "dark": True},
}
FILES = (
    ("press-kit.zip", "application/zip", 1_460_000, timedelta(days=24)),
    ("Contract Fjordbygg AS (signed).pdf", "application/pdf", 130_000, timedelta(days=15)),
    ("IMG_4090.jpg", "image/jpeg", 670_000, timedelta(days=9)),
    ("ground-floor.png", "image/png", 210_000, timedelta(days=7)),
    ("Budget 2027, draft 4.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 86_000, timedelta(days=4)),
    ("site-visit-bergen.mov", "video/quicktime", 3_260_000, timedelta(days=3)),
    ("Interview Solveig Aas, second take.wav", "audio/wav", 4_126_000, timedelta(days=1, hours=2)),
    ("IMG_4128.jpg", "image/jpeg", 790_000, timedelta(hours=1)),
    ("IMG_4127.jpg", "image/jpeg", 820_000, timedelta(minutes=50)),
    ("Harbour-house_final-plans_rev-C.pdf", "application/pdf", 2_480_000, timedelta(minutes=20)),
)
"""Name, type, size and age of the files, from the oldest."""
SMALL_UPLOADS = (
    {"name": "IMG_4131.jpg", "size": 740_000},
    {"name": "IMG_4130.jpg", "size": 800_000},
    {"name": "notes-bergen.txt", "size": 12_000},
)
LARGE_UPLOADS = ({"name": "site-visit-bergen-2.mov", "size": 120_000_000}, {"name": "Lookbook winter 2026.zip", "size": 70_000_000})
TRASHED = "old draft.txt"
REQUEST = "Photos and survey of the roof"
UPLOAD_BYTES_PER_SECOND = 6_000_000
SENT_PERCENT = 15


def _picture(size: int) -> bytes:
    """Return a PNG of a floor plan, followed by zeros up to `size` bytes."""
    width, height, ground, line = 480, 320, b"\xf4\xf6\xf7", b"\x60\x78\x8a"
    walls = [
        (40, 40, 440, 46),
        (40, 274, 440, 280),
        (40, 40, 46, 280),
        (434, 40, 440, 280),
        (200, 40, 206, 190),
        (200, 184, 330, 190),
        (300, 190, 306, 280),
    ]
    rows = bytearray()
    for y in range(height):
        rows += b"\0"
        for x in range(width):
            rows += line if any(left <= x < right and top <= y < bottom for left, top, right, bottom in walls) else ground

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")
    return image.ljust(size, b"\0")


def _fill(site: Site, client: httpx.Client, account: Account) -> dict[str, str]:
    """Make files, links and a file request; return the addresses of the pages that visitors see."""
    profile = {"display_name": "Mara Lindqvist", "shows_name_on_links": True}
    client.patch("/api/v1/users/me", json=profile, headers=account.headers).raise_for_status()
    trashed = make_file(client, account, bytes(48_000), filename=TRASHED)["id"]
    client.delete(f"/api/v1/files/{trashed}", headers=account.headers).raise_for_status()
    fields = {"title": REQUEST, "note": "Everything you took on Thursday, in full size.", "max_size_bytes": 1_000_000_000}
    request = client.post("/api/v1/file-requests", json=fields, headers=account.headers).raise_for_status().json()
    made = []
    for name, content_type, size, age in FILES:
        content = _picture(size) if name.endswith(".png") else bytes(size)
        file = make_file(client, account, content, filename=name, content_type=content_type)["id"]
        with site.services.engine.begin() as connection:
            connection.execute(sql("UPDATE file SET created_at = :created WHERE id = :id"), {"created": clock.now() - age, "id": file})
        made.append(file)
    rules = {"max_downloads": 20, "expires_at": (clock.now() + timedelta(days=14, hours=2)).isoformat()}
    share = make_share(
        client, account, made[-1], made[-2], made[-3], made[3], note="Rev C as promised. The photos show the north facade.", **rules
    )
    make_share(client, account, made[0], password="fjord-lantern-48")
    client.put(f"/api/v1/files/{made[3]}", json={"is_public": True}, headers=account.headers).raise_for_status()
    return {"share": share["url"], "request": request["url"]}


def _shots(site: Site, account: Account, pages: dict[str, str], variant: str) -> dict[str, Steps]:
    def shot(screen: str) -> dict[str, Any]:
        return {"shot": str(FOLDER / f"{screen}.{variant}.png")}

    first, second, third = (f"Select {name}" for name, *_ in FILES[:-4:-1])
    signed_in: Steps = [{"fill": "E-mail", "value": account.email}, {"fill": "Password", "value": account.password}, {"click": "Sign in"}]
    opened: Steps = [*signed_in, {"see": FILES[-1][0]}, {"idle": True}]
    selected: Steps = [*opened, *({"click": name, "role": "checkbox"} for name in (first, second, third))]

    def at(path: str, *steps: dict[str, Any]) -> Steps:
        return [*signed_in, {"see": FILES[-1][0]}, {"open": f"{site.url}/{path}"}, *steps, {"idle": True}, shot(path)]

    return {
        "links": at("links", {"see": "Your links", "role": "table"}),
        "requests": at("requests", {"see": REQUEST}),
        "trash": at("trash", {"see": TRASHED}),
        "settings": at("settings", {"see": "This one"}),
        "admin": at("admin", {"see": "Uploads each day", "role": "heading"}),
        "preview": [*opened, {"click": "ground-floor.png"}, {"see": "Previous file", "role": "button"}, {"idle": True}, shot("preview")],
        "share-page": [{"open": pages["share"]}, shot("share-page")],
        "request-page": [{"open": pages["request"]}, shot("request-page")],
        "sign-in": [{"focused": "E-mail"}, shot("sign-in")],
        "files": [*selected, {"see": "3 selected"}, shot("files")],
        "share": [
            *(*selected, {"click": "Share"}, {"see": "Share 3 files"}, {"click": "Create link", "within": "dialog"}),
            *({"see": "You can copy it again under Links."}, {"idle": True}, shot("share")),
        ],
        "uploads": [
            *(*opened, {"upload": "Upload files", "files": SMALL_UPLOADS}, {"see": "All 3 verified"}, {"click": "Minimise"}),
            *({"slow": UPLOAD_BYTES_PER_SECOND}, {"upload": "Upload files", "files": LARGE_UPLOADS}, {"see": "3 of 5 verified"}),
            *({"sent": SENT_PERCENT}, shot("uploads")),
        ],
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_screenshots_are_small(site: Site, client: httpx.Client, visit: Callable[[dict[str, Any]], dict[str, Any]], variant: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    account = make_account(site.services, is_superuser=True, email="mara@example.com" if variant == "desktop-light" else "mara@example.org")
    pages = _fill(site, client, account)
    jobs = {
        name: {"url": f"{site.url}/", "steps": steps, **VARIANTS[variant]} for name, steps in _shots(site, account, pages, variant).items()
    }

    with running_workers(site.services):
        results = visit(jobs)

    assert {name: result["failed"] for name, result in results.items() if "failed" in result} == {}
    assert {path.name: size for path in _pictures(variant) if (size := path.stat().st_size) > PNG_MAX_BYTES} == {}
    assert len(_pictures(variant)) == len(jobs)


def _pictures(variant: str) -> list[Path]:
    return sorted(FOLDER.glob(f"*.{variant}.png"))
