"""The page of a share link's zip: requested with a form, refreshed without a script, downloaded with a link."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lambda_app.factory import Services
from lambda_app.storage.content import safe_filename
from tests.support.accounts import Account, make_file
from tests.support.archives_api import SharedFiles, run_worker
from tests.support.pages import HOSTILE_FILENAMES, Page
from tests.support.problems import assert_problem
from tests.support.shares import counts_of, expire_share, make_share

JSON = {"Accept": "application/json"}


@pytest.fixture
def share(client: httpx.Client, owner: Account) -> dict[str, Any]:
    """A link to files with hostile names."""
    files = [str(make_file(client, owner, filename=name)["id"]) for name in HOSTILE_FILENAMES]
    return make_share(client, owner, *files)


def set_archive(services: Services, page: str, change: str) -> None:
    with services.engine.begin() as connection:
        connection.execute(text(f"UPDATE archive SET {change} WHERE id = :id"), {"id": page.rpartition("/")[2]})  # noqa: S608 - constants of the tests


def test_zip_is_requested_watched_and_downloaded_without_script(
    browser: httpx.Client,
    services: Services,
    owner: Account,
    share: dict[str, Any],
) -> None:
    action = f"{share['url']}/archives"
    assert Page(browser.get(share["url"])).all("form") == [{"method": "post", "action": action}]

    requested = browser.post(action, headers={"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"})
    page_url = requested.headers["location"]
    queued = browser.get(page_url)
    set_archive(services, page_url, "status = 'building', done_bytes = size_bytes * 42 / 100 + 1")
    building = browser.get(page_url)
    stopped = browser.get(f"{page_url}?still")
    set_archive(services, page_url, "status = 'queued', done_bytes = 0")
    run_worker(services, {"id": page_url.rpartition("/")[2]})
    ready = browser.get(page_url)

    assert (requested.status_code, page_url.rpartition("/")[0], queued.status_code) == (303, action, 200)
    assert (queued.headers["refresh"], building.headers["refresh"]) == ("4", "4")
    assert "The zip is being built: 42 %" in Page(building).texts
    assert [progress_bar["value"] for progress_bar in Page(building).all("progress")] == ["42"]
    assert [link["href"] for link in Page(building).all("a")] == [page_url, f"{page_url}?still", share["url"]]
    assert "refresh" not in stopped.headers
    assert "refresh" not in ready.headers
    assert [link["href"] for link in Page(ready).all("a")] == [f"{page_url}/download", share["url"]]
    for response in (queued, building, stopped, ready):
        assert response.headers["content-security-policy"] == browser.get(share["url"]).headers["content-security-policy"]
        assert (response.headers["cache-control"], response.headers["referrer-policy"]) == ("no-store", "same-origin")
        assert response.headers["x-robots-tag"] == "noindex, nofollow"
        page = Page(response)
        assert page.all("script") == page.all("img") == [tag for tag in page.all("meta") if "http-equiv" in tag] == []
        assert {safe_filename(name) for name in HOSTILE_FILENAMES} <= set(page.texts)
    assert browser.get(f"{page_url}/download").status_code == 302
    assert counts_of(browser, owner, share)[1] == 1


def test_zip_button_appears_only_where_a_zip_can_be_downloaded(browser: httpx.Client, owner: Account) -> None:
    files = [str(make_file(browser, owner)["id"]) for _ in range(2)]

    assert Page(browser.get(make_share(browser, owner, files[0])["url"])).all("form") == []
    assert Page(browser.get(make_share(browser, owner, *files, allows_download=False)["url"])).all("form") == []
    assert "the zip counts as one" in browser.get(make_share(browser, owner, *files, max_downloads=2)["url"]).text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_form_of_another_origin_cannot_request_a_zip(browser: httpx.Client, owner: Account, site: str) -> None:
    link = SharedFiles(browser, owner, password="swordfish")
    browser.post(link.path, data={"password": "swordfish"})
    url = f"{link.path}/archives"

    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        assert browser.post(url, headers={"Sec-Fetch-Site": site, "Content-Type": content_type}).status_code == 403
    # A script of the other site that requests JSON with the page's cookie.
    assert_problem(browser.post(url, headers={"Sec-Fetch-Site": site, **JSON}), 403, "cross_site_form")
    assert browser.post(url).status_code == 303


@pytest.mark.parametrize("code", ["files_changed", "file_withheld", "given_up"])
def test_page_of_a_failed_zip_gives_the_reason_and_a_retry_button(
    browser: httpx.Client,
    services: Services,
    share: dict[str, Any],
    code: str,
) -> None:
    page_url = browser.post(f"{share['url']}/archives").headers["location"]
    set_archive(services, page_url, f"status = 'failed', error_code = '{code}', expires_at = now() + interval '1 day'")

    failed = browser.get(page_url)

    assert "refresh" not in failed.headers
    reason = {
        "files_changed": "A file was changed or removed",
        "file_withheld": "did not pass the malware scan",
        "given_up": "Building the zip failed several times",
    }[code]
    assert reason in failed.text
    assert Page(failed).all("form") == [{"method": "post", "action": f"{share['url']}/archives"}]
    assert browser.post(f"{share['url']}/archives").headers["location"] not in ("", page_url)
    set_archive(services, page_url, "expires_at = now() - interval '1 day'")
    expired = browser.get(page_url)
    assert (expired.status_code, "refresh" in expired.headers) == (410, False)
    assert "This zip has expired" in Page(expired).texts
    assert Page(expired).all("a") == [{"href": share["url"]}]


def test_closed_and_unknown_links_return_the_same_page(browser: httpx.Client, services: Services, share: dict[str, Any]) -> None:
    page_url = browser.post(f"{share['url']}/archives").headers["location"]
    expire_share(services, share)

    unknown = browser.get("/s/none")

    for response in (browser.get(page_url), browser.get(f"{page_url}/download"), browser.post(f"{share['url']}/archives")):
        assert (response.status_code, response.text) == (404, unknown.text)


def test_programs_get_json(browser: httpx.Client, share: dict[str, Any]) -> None:
    for accept in ("*/*", "application/json"):
        requested = browser.post(
            f"{share['url']}/archives", headers={"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        )
        fetched = browser.get(requested.headers["location"], headers={"Accept": accept})
        assert (requested.status_code, fetched.status_code) == (202, 200)
        assert fetched.json()["id"] == requested.json()["id"]
        assert "refresh" not in fetched.headers
