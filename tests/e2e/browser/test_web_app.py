"""The web app in a real browser: journeys by mouse, keyboard and phone width, accessibility, policy and size."""

import base64
import gzip
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from infra.local import web_app
from infra.local.workers import running_workers
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import Results, Steps, console_messages, failures, sign_in
from tests.support.accounts import Account, make_account, make_file, sha256_hex
from tests.support.shares import make_share

REPORT = b"%PDF-1.7 the bytes of the report"
SMALL: dict[str, str] = {"name": "Bericht für März.pdf", "type": "application/pdf", "base64": base64.b64encode(REPORT).decode()}
LARGE: dict[str, Any] = {"name": "recording.bin", "size": 65 * 1024**2 + 7}
"""Above 64 MiB, the app uploads in parts."""
OLD_NAME = "before.pdf"
FIRST_LOAD_MAX_BYTES = 40_000
NEW_PASSWORD = "a sentence is a good password"
SCREENS = {
    "files": "Files",
    "shared": "Shared with me",
    "links": "Links",
    "requests": "Requests",
    "trash": "Trash",
    "settings": "Settings",
    "admin": "Admin",
}
"""The heading of each screen by its path."""
PHONE: dict[str, Any] = {"width": 320, "height": 700}
VARIANTS: dict[str, dict[str, Any]] = {
    "desktop, light": {},
    "desktop, dark": {"dark": True},
    "phone, light": PHONE,
    "phone, dark": {**PHONE, "dark": True},
}
INSPECT: Steps = [{"axe": True}]
GRID: Steps = [{"see": "Files, newest first", "role": "grid"}, {"idle": True}, *INSPECT]
"""Files as tiles."""


def share_a_first_upload(email: str) -> Steps:
    """Return the steps of a new user, from the address of the site to a link that a visitor opens."""
    uploads: Steps = [
        {"upload": "Choose files", "files": [SMALL]},
        {"see": "1 file verified"},
        {"upload": "Upload files", "files": [LARGE]},
        {"see": "All 2 verified"},
        {"see": "Arrived and verified"},
        *INSPECT,
    ]
    visit: Steps = [{"see": SMALL["name"]}, {"download": f"Download {SMALL['name']}"}]
    return [
        *({"see": "Sign in to We-Upload"}, *INSPECT, {"click": "Create an account", "role": "link"}, {"see": "Have an account?"}, *INSPECT),
        *({"fill": "E-mail", "value": email}, {"fill": "Password", "value": NEW_PASSWORD}, {"click": "Create account"}),
        *({"see": "Drop your first files here"}, *INSPECT),
        *uploads,
        *({"click": "Create link"}, {"see": "Share 2 files"}, *INSPECT, {"click": "Create link", "within": "dialog"}),
        *({"see": "You can copy it again under Links."}, *INSPECT),
        *({"visitor": "Link", "steps": visit}, {"click": "Done"}, {"click": "Close"}),
    ]


def delete_and_undo(name: str) -> Steps:
    return [
        *({"click": f"More actions for {name}"}, *INSPECT, {"click": "Move to trash", "role": "menuitem"}),
        *({"see": "1 file moved to the trash"}, *INSPECT, {"click": "Undo"}, {"gone": "1 file moved to the trash"}, {"see": name}),
    ]


@pytest.fixture(scope="module")
def keyboard_user(site: Site, client: httpx.Client) -> Account:
    """An account without files."""
    return make_account(site.services)


@pytest.fixture(scope="module")
def results(site: Site, client: httpx.Client, keyboard_user: Account, visit: Callable[[dict[str, Any]], Results]) -> Results:
    """The results of all jobs, run in one browser."""
    email = f"new-{uuid4()}@example.com"
    operator = make_account(site.services, is_superuser=True)
    keys_user = make_account(site.services)
    make_file(client, keys_user, REPORT, filename=OLD_NAME, content_type="application/pdf")
    grid_user = make_account(site.services)
    for name in ("oldest.txt", "middle.txt", "newest.txt"):
        make_file(client, grid_user, REPORT, filename=name, content_type="text/plain")
    file = make_file(client, operator, REPORT, filename=SMALL["name"], content_type="application/pdf")["id"]
    make_share(client, operator, file)
    opened: dict[str, Steps] = {
        path: [{"open": f"{site.url}/{path}"}, {"see": heading, "role": "heading"}, {"idle": True}, *INSPECT]
        for path, heading in SCREENS.items()
    }
    session: Steps = [
        *({"reload": True}, {"see": SMALL["name"]}, {"secondTab": [{"see": SMALL["name"]}, {"see": email}]}),
        *({"click": email}, {"click": "Sign out", "role": "menuitem"}, {"see": "Sign in to We-Upload"}),
        *({"reload": True}, {"see": "Sign in to We-Upload"}, {"open": f"{site.url}/files"}, {"see": "Sign in to We-Upload"}),
    ]
    keyboard: Steps = [
        *({"focused": "E-mail"}, {"type": keyboard_user.email}, {"tab": "Password"}, {"type": keyboard_user.password}),
        *({"key": "Enter"}, {"see": "Drop your first files here"}, {"tab": "Choose files", "role": "button"}, {"choose": [SMALL]}),
        *({"see": "1 file verified"}, {"tab": "Create link", "role": "button"}, {"key": "Enter"}, {"see": "Share 1 file"}),
        *(
            {"key": "Control+Enter"},
            {"see": "You can copy it again under Links."},
            {"tab": "Done", "role": "button"},
            {"key": "Enter"},
            {"gone": "Copy it now."},
        ),
    ]
    keys: Steps = [
        *(*sign_in(keys_user.email, keys_user.password), {"see": OLD_NAME}, {"key": "ArrowDown"}, {"key": "x"}, {"see": "1 selected"}),
        *({"key": "Escape"}, {"gone": "1 selected"}, {"key": " "}, {"see": "Verified on arrival"}, {"key": "Escape"}),
        *({"key": "F2"}, {"see": "Description"}, {"type": "after"}, {"key": "Control+Enter"}, {"gone": OLD_NAME}, {"see": "after.pdf"}),
        *({"key": "Delete"}, {"see": "1 file moved to the trash"}, {"key": "Control+z"}, {"gone": "1 file moved to the trash"}),
        *({"see": "after.pdf"}, {"key": "s"}, {"see": "Share 1 file"}, {"key": "Control+Enter"}, {"see": "You can copy it again"}),
        *({"key": "Escape"}, {"key": "g"}, {"key": "l"}, {"see": "Links", "role": "heading"}, {"see": "after.pdf"}),
        *({"key": "g"}, {"key": "r"}, {"see": "Requests", "role": "heading"}, {"key": "n"}, {"see": "Ask for files"}),
        *({"type": "Photos"}, {"key": "Control+Enter"}, {"see": "Send this link"}, {"key": "Escape"}, {"gone": "Send this link"}),
        *({"key": "g"}, {"key": "s"}, {"see": "Settings", "role": "heading"}, {"key": "/"}, {"see": "after.pdf"}),
    ]
    grid: Steps = [
        *(*sign_in(grid_user.email, grid_user.password), {"see": "newest.txt"}, {"click": "Grid"}, *GRID),
        *({"key": "ArrowRight"}, {"key": "ArrowRight"}, {"key": "Shift+ArrowRight"}, {"see": "2 selected"}, *INSPECT),
        *({"key": "Escape"}, {"key": "Home"}, {"key": "ArrowDown"}, {"key": "Delete"}, {"gone": "oldest.txt"}, {"reload": True}),
        *(*GRID, {"key": "ArrowRight"}, {"key": " "}, {"see": "Next file", "role": "button"}, {"key": "Escape"}),
        *({"click": "Select newest.txt", "role": "checkbox"}, {"see": "1 selected"}, {"click": "List"}, {"see": "1 selected"}),
        *({"see": "Files, newest first", "role": "table"}, {"click": "Select all", "role": "checkbox"}, {"see": "2 selected"}),
        # The keys act on the file whose menu has the focus, and the focus goes on to the next file.
        *({"key": "Escape"}, {"key": "End"}, {"focused": "middle.txt"}, {"click": "More actions for newest.txt", "role": "button"}),
        *({"see": "Move to trash", "role": "menuitem"}, {"key": "Escape"}, {"gone": "Move to trash"}, {"key": "Delete"}),
        *({"gone": "newest.txt"}, {"focused": "middle.txt"}),
    ]
    resized: Steps = [{"resize": 320}, {"resize": 1280}]
    mirrored: Steps = [
        *(*sign_in(operator.email, operator.password), {"see": "Files", "role": "heading"}, {"place": "Main"}),
        *(step for steps in opened.values() for step in [*steps, *resized]),
        *({"open": f"{site.url}/files"}, {"click": SMALL["name"]}, {"see": "Verified on arrival"}, *INSPECT),
    ]
    jobs: dict[str, Any] = {
        "keys": {"url": f"{site.url}/", "steps": keys},
        "right to left": {"url": f"{site.url}/", "storage": {"we-upload.language": "en-XB"}, "steps": mirrored},
        "first visit": {"url": f"{site.url}/", "steps": [{"see": "Sign in to We-Upload"}]},
        "newcomer": {"url": f"{site.url}/", "steps": [*share_a_first_upload(email), *delete_and_undo(str(SMALL["name"])), *session]},
        "keyboard": {"url": f"{site.url}/", "steps": keyboard},
        "grid": {"url": f"{site.url}/", "steps": grid},
        "grid, phone": {
            "url": f"{site.url}/",
            **VARIANTS["phone, dark"],
            "storage": {"we-upload.file-view": "grid"},
            "steps": [
                *(*sign_in(operator.email, operator.password), {"see": SMALL["name"]}, *GRID, {"resize": 320}),
                *({"open": f"{site.url}/admin"}, {"click": "7 days"}, {"click": "Show as table"}),
                *({"see": "Uploaded each day", "role": "table"}, {"idle": True}, *INSPECT, {"resize": 320}),
            ],
        },
        **{
            f"screens, {name}": {
                "url": f"{site.url}/",
                **variant,
                "steps": [
                    *sign_in(operator.email, operator.password),
                    {"see": "Files", "role": "heading"},
                    *(step for steps in opened.values() for step in steps),
                ],
            }
            for name, variant in VARIANTS.items()
        },
    }
    for name, job in jobs.items():
        job["keepsPolicy"] = True
        if name.startswith("screens, phone"):
            job["steps"] = [step for one in job["steps"] for step in ([one, {"resize": 320}] if "axe" in one else [one])]
    with running_workers(site.services):
        return visit(jobs)


def test_every_job_completed(results: Results) -> None:
    assert failures(results) == {}


def test_visitor_downloads_the_file_unchanged(results: Results) -> None:
    assert results["newcomer"]["downloads"] == [{"name": SMALL["name"], "sha256": sha256_hex(REPORT)}]


def test_large_file_is_uploaded_in_parts(results: Results, site: Site) -> None:
    paths = [urlsplit(url).path for url in results["newcomer"]["requests"]]

    assert paths.count("/api/v1/files/multipart") == paths.count("/api/v1/files/upload") == 1


def test_upload_and_link_need_no_mouse(results: Results, client: httpx.Client, keyboard_user: Account) -> None:
    assert results["keyboard"]["path"] == "/files"
    links = client.get("/api/v1/shares", headers=keyboard_user.headers).json()
    files = client.get("/api/v1/files", headers=keyboard_user.headers).json()
    assert [(file["filename"], file["status"]) for file in files] == [(SMALL["name"], "available")]
    assert [link["file_ids"] for link in links] == [[files[0]["id"]]]


def test_no_screen_violates_a_rule_of_accessibility(results: Results) -> None:
    reports = [report for result in results.values() for report in result["axe"]]

    assert len(reports) >= len(VARIANTS) * len(SCREENS)
    assert [report["violations"] for report in reports if report["violations"]] == []
    assert min(report["passes"] for report in reports) > 10


def test_nothing_is_wider_than_a_small_phone(results: Results) -> None:
    screens = {"screens, phone, light": len(SCREENS), "screens, phone, dark": len(SCREENS), "grid, phone": 2}
    for name, count in screens.items():
        assert len(results[name]["widths"]) == count
        assert max(results[name]["widths"]) <= PHONE["width"]


def test_files_links_and_requests_need_no_mouse(results: Results) -> None:
    assert results["keys"]["path"] == "/files"


def test_layout_is_mirrored_for_languages_from_right_to_left(results: Results) -> None:
    (side,) = results["right to left"]["places"]

    assert side > 0.5
    widths = results["right to left"]["widths"]
    assert len(widths) == 2 * len(SCREENS)
    assert max(widths[::2]) <= PHONE["width"]


def test_browser_reports_neither_errors_nor_violations_of_the_policy(results: Results) -> None:
    assert console_messages(results) == {}


def test_app_reaches_only_the_api_and_the_bucket(results: Results, site: Site) -> None:
    store = site.services.settings.aws_endpoint_url
    for result in results.values():
        for url in result["requests"]:
            assert url.startswith((f"{site.url}/", f"{store}/", f"blob:{site.url}/")), url


def test_first_visit_loads_one_script_and_one_style_sheet(results: Results) -> None:
    loaded = [urlsplit(url).path for url in results["first visit"]["requests"]]

    assert sorted(path.rsplit(".", 1)[-1] for path in loaded if re.search(r"\.(js|css)$", path)) == ["css", "js"]
    sizes = [(web_app.DIST / f"{path.removeprefix('/')}.gz").stat().st_size for path in loaded if re.search(r"\.(js|css)$", path)]
    assert sum(sizes) <= FIRST_LOAD_MAX_BYTES


def test_compressed_files_are_those_that_are_sent(results: Results, client: httpx.Client) -> None:
    script = next(urlsplit(url).path for url in results["first visit"]["requests"] if url.endswith(".js"))

    response = client.get(script)

    assert response.headers["content-encoding"] == "gzip"
    assert response.content == gzip.decompress((web_app.DIST / f"{script.removeprefix('/')}.gz").read_bytes())
