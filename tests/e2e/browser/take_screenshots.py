"""Takes the screenshots in docs/screenshots, for `make screenshots`: every screen with real files, on a desktop and on a phone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.object_store import ObjectStoreServer
from infra.local.state import CHECKOUT
from infra.local.workers import running_workers
from tests.e2e.browser import showcase
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import Steps, choose_action, sign_in
from tests.support.accounts import Account

FOLDER = CHECKOUT / "docs" / "screenshots"
PNG_MAX_BYTES = 150_000
VARIANTS: dict[str, dict[str, Any]] = {
    "desktop-light": {"width": 1280, "height": 800},
    "phone-dark": {"width": 390, "height": 844, "dark": True},
}
DOMAINS = {"desktop-light": "example.com", "phone-dark": "example.org"}
SMALL_UPLOADS = (
    {"name": "IMG_4131.jpg", "size": 740_000},
    {"name": "IMG_4130.jpg", "size": 800_000},
    {"name": "notes-bergen.txt", "size": 12_000},
)
LARGE_UPLOADS = ({"name": "site-visit-bergen-2.mov", "size": 120_000_000}, {"name": "Lookbook winter 2026.zip", "size": 70_000_000})
UPLOAD_BYTES_PER_SECOND = 6_000_000
SENT_PERCENT = 15
NEWEST = showcase.FILES[-1][0]


def _screens(site: Site, shown: showcase.Showcase) -> Iterator[tuple[str, str, Steps]]:
    """Yield the name of each screen, the address at which it begins, and the steps to it."""
    home = f"{site.url}/"
    opened: Steps = [*sign_in(shown.account.email, shown.account.password), {"see": NEWEST}, {"idle": True}]
    selected: Steps = [*opened, *({"click": f"Select {name}", "role": "checkbox"} for name, *_ in showcase.FILES[:-4:-1])]

    def at(path: str, *steps: dict[str, Any], account: Account | None = None) -> tuple[str, Steps]:
        first = opened if account is None else [*sign_in(account.email, account.password), {"see": "Files", "role": "heading"}]
        return home, [*first, {"open": f"{home}{path}"}, *steps]

    def page(address: str, *steps: dict[str, Any]) -> tuple[str, Steps]:
        return address, list(steps)

    by_name: dict[str, tuple[str, Steps]] = {
        "sign-in": page(home, {"focused": "E-mail"}),
        "sign-in-code": page(home, *sign_in(shown.protected.email, shown.protected.password), {"see": "Enter the code"}),
        "sign-up": page(f"{home}sign-up", {"see": "Create an account"}),
        "forgot-password": page(f"{home}forgot-password", {"see": "Send the link"}),
        "invitation": page(f"{home}invitation#token={shown.invitation}", {"see": "Choose a password for your new account."}),
        "enrolment": page(home, *sign_in(shown.unprotected.email, shown.unprotected.password), {"see": "Your account must have"}),
        "files": page(home, *selected, {"see": "3 selected"}),
        "files-grid": page(home, *opened, {"click": "Grid"}, {"see": "Files, newest first", "role": "grid"}),
        "files-empty": page(home, *sign_in(shown.beginner.email, shown.beginner.password), {"see": "first files here"}),
        "share": page(
            home,
            *(*selected, {"click": "Share"}, {"see": "Share 3 files"}, {"click": "Create link", "within": "dialog"}),
            {"see": "You can copy it again under Links."},
        ),
        "preview": page(
            home, *opened, {"click": "IMG_4127.jpg"}, {"see": "Previous file", "role": "button"}, {"picture": ".stage img.pic"}
        ),
        "shared": at("shared", {"see": showcase.SHARED}),
        "links": at("links", {"see": "Your links", "role": "table"}),
        "requests": at("requests", {"see": showcase.REQUEST}),
        "request-form": at("requests?new", {"see": "What do you need?"}),
        "trash": at("trash", {"see": showcase.TRASHED}),
        "settings": at("settings", {"see": "This one"}),
        "settings-activity": at("settings#activity", {"see": "Signed in"}),
        "settings-webhooks": at("settings#hooks", {"see": showcase.HOOK}),
        "settings-data": at("settings#data", {"see": "Hand your files over"}),
        "webhook-deliveries": at("settings#hooks", *choose_action(showcase.HOOK, "Deliveries"), {"see": "Waiting"}),
        "device-sign-in": page(
            shown.device_url,
            *sign_in(shown.account.email, shown.account.password),
            *({"see": "Connect a program"}, {"click": "Continue", "within": "dialog"}, {"see": "to your account?"}),
        ),
        "admin": at("admin", {"see": "Uploaded each day", "role": "heading"}),
        "admin-people": at("admin?tab=people", {"see": "Hanna Weiß"}),
        "admin-invitations": at("admin?tab=people", {"click": "Invitations"}, {"see": "valid until"}),
        "admin-audit": at("admin?tab=audit", {"see": "Signed in"}),
        "share-page": page(shown.pages["share"]),
        "share-page-list": page(shown.pages["list"]),
        "share-page-password": page(shown.pages["password"], {"fill": "Password of the link", "value": "wrong one"}, {"press": "Open"}),
        "share-page-closed": page(f"{home}s/none"),
        "request-page": page(shown.pages["request"]),
        "request-page-sent": page(
            shown.pages["request"], {"tab": "Choose files"}, {"choose": SMALL_UPLOADS}, {"see": "All 3 files have arrived"}
        ),
        "unsubscribe": page(shown.unsubscribe_url, {"see": "Turn these mails off?"}),
        # Last, because it adds files.
        "uploads": page(
            home,
            *(*opened, {"upload": "Upload files", "files": SMALL_UPLOADS}, {"see": "All 3 verified"}, {"click": "Minimise"}),
            *({"slow": UPLOAD_BYTES_PER_SECOND}, {"upload": "Upload files", "files": LARGE_UPLOADS}, {"see": "3 of 5 verified"}),
            {"sent": SENT_PERCENT},
        ),
    }
    for name, (address, steps) in by_name.items():
        # An upload in progress is never idle.
        yield name, address, steps if name == "uploads" else [*steps, {"idle": True}]


@pytest.mark.parametrize("variant", VARIANTS)
def test_screenshots_are_small(
    site: Site,
    client: httpx.Client,
    s3_server: ObjectStoreServer,
    visit: Callable[[dict[str, Any]], dict[str, Any]],
    sealing: Callable[[], AbstractContextManager[None]],
    variant: str,
) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sealing(), running_workers(site.services, s3_server.events, s3_server.previews):
        shown = showcase.fill(site, client, DOMAINS[variant])
        jobs: dict[str, Any] = {
            name: {"url": address, "steps": [*steps, {"shot": str(FOLDER / f"{name}.{variant}.png")}], **VARIANTS[variant]}
            for name, address, steps in _screens(site, shown)
        }
        results = visit(jobs)

    assert {name: result["failed"] for name, result in results.items() if "failed" in result} == {}
    assert {path.name: size for path in _pictures(variant) if (size := path.stat().st_size) > PNG_MAX_BYTES} == {}
    assert len(_pictures(variant)) == len(jobs)


def _pictures(variant: str) -> list[Path]:
    return sorted(FOLDER.glob(f"*.{variant}.png"))
