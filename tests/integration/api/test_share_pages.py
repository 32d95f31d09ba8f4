"""The pages of share links: their content, headers and forms."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.logs import JsonFormatter
from lambda_app.core.security.origin_verifier import OriginVerifier
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.storage.content import safe_filename
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.pages import HOSTILE_FILENAMES, Page
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, change_share, counts_of, make_share


@pytest.fixture(scope="module")
def owner(make_user: Callable[..., Account]) -> Account:
    """An owner of links."""
    return make_user()


@pytest.fixture(scope="module")
def file(client: httpx.Client, owner: Account) -> str:
    """A file of the owner."""
    return str(make_file(client, owner, filename="report.pdf", content_type="application/pdf")["id"])


def test_page_has_strict_security_headers_and_no_scripts(browser: httpx.Client, owner: Account, file: str) -> None:
    response = browser.get(make_share(browser, owner, file)["url"])

    style = re.search("<style>(.*?)</style>", response.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert response.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["x-robots-tag"] == "noindex, nofollow"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert "Accept" in response.headers["vary"]
    page = Page(response)
    assert page.all("script") == page.all("img") == page.all("link") == page.all("iframe") == []
    assert page.all("html") == [{"lang": "en"}]
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") or name == "style" for name in attributes)]


def test_hostile_filenames_and_notes_are_escaped(browser: httpx.Client, owner: Account) -> None:
    files = [str(make_file(browser, owner, filename=name)["id"]) for name in HOSTILE_FILENAMES]
    note = "<script>alert(2)</script>\n{{ 7 * 7 }}"

    response = browser.get(make_share(browser, owner, *files, note=note)["url"])

    page = Page(response)
    assert response.status_code == 200
    assert page.all("script") == page.all("img") == []
    for text_ in (*(safe_filename(name) for name in HOSTILE_FILENAMES), note):
        assert text_ in page.texts
    # With the right-to-left override, a browser would show "invoiceexe.png".
    assert "invoicegnp.exe" in page.texts
    assert [attributes["href"] for attributes in page.all("a")] == [f"{response.request.url.path}/files/{file}" for file in files]
    # Each name is isolated, so that it cannot change the direction of the text around it.
    assert response.text.count("<bdi>") == 1 + len(files)
    assert response.text.count("</bdi>") == 1 + len(files)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("", False),
    ],
)
def test_accept_header_selects_page_or_json(client: httpx.Client, owner: Account, file: str, accept: str, is_page: bool) -> None:
    for url in (make_share(client, owner, file)["url"], "/s/none"):
        response = client.get(url, headers={"Accept": accept})
        assert response.headers["content-type"].startswith("text/html" if is_page else "application/")


def test_preview_of_an_open_link_names_files_and_total_size(browser: httpx.Client, owner: Account) -> None:
    files = [str(make_file(browser, owner, bytes(1_500), filename=f'{name}".pdf')["id"]) for name in "abcd"]

    page = Page(browser.get(make_share(browser, owner, *files)["url"]))

    preview = {str(meta["property"]): meta["content"] for meta in page.all("meta") if "property" in meta}
    names = ", ".join(safe_filename(f'{name}".pdf') for name in "abc")
    assert preview == {
        "og:type": "website",
        "og:site_name": "We-Upload",
        "og:title": "Shared files",
        "og:description": f"{names} and 1 more · 6 KB",
    }


@pytest.mark.parametrize("rules", [{"password": "swordfish"}, {"audience": "signed_in"}, {"expires_at": "revoked"}])
def test_preview_of_a_closed_link_names_nothing(browser: httpx.Client, owner: Account, file: str, rules: dict[str, str]) -> None:
    is_revoked = rules.get("expires_at") == "revoked"
    share = make_share(browser, owner, file, **({} if is_revoked else rules))
    if is_revoked:
        browser.delete(f"/api/v1/shares/{share['id']}", headers=owner.headers).raise_for_status()

    response = browser.get(share["url"])

    assert "og:description" not in response.text
    assert "report" not in response.text


def test_password_form_sets_a_cookie_for_this_link_only(browser: httpx.Client, owner: Account, file: str) -> None:
    share, other = (make_share(browser, owner, file, password="swordfish") for _ in range(2))

    form_page = browser.get(share["url"])
    page = Page(form_page)
    assert form_page.status_code == 200
    assert page.all("form") == [{"method": "post", "action": share["url"]}]
    assert [field["name"] for field in page.all("input")] == ["password"]
    assert page.all("label") == [{"for": "password"}]
    assert "report" not in form_page.text

    wrong = browser.post(share["url"], data={"password": "guess"})
    assert wrong.status_code == 403
    assert [attributes.get("role") for attributes in Page(wrong).all("p") if attributes.get("class") == "message"] == ["alert"]
    assert "set-cookie" not in wrong.headers

    right = browser.post(share["url"], data={"password": "swordfish"})
    assert (right.status_code, right.headers["location"]) == (303, share["url"])
    cookie = right.headers["set-cookie"]
    assert re.match(r"__Secure-share-pass=[\w.-]+; ", cookie)
    for attribute in (f"Path={share['url']}", "HttpOnly", "Secure", "SameSite=lax", "expires="):
        assert attribute in cookie
    assert "Domain" not in cookie

    opened = browser.get(share["url"])
    assert "report.pdf" in Page(opened).texts
    assert browser.get(f"{share['url']}/files/{file}").status_code == 302
    assert Page(browser.get(other["url"])).all("form")
    assert counts_of(browser, owner, share) == (1, 1)

    change_share(browser, owner, share, password="sturgeon")
    assert Page(browser.get(share["url"])).all("form")


def test_sign_in_form_opens_the_link_while_the_account_is_valid(
    browser: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account], file: str
) -> None:
    friend = make_user()
    share = make_share(browser, owner, file, audience="named", recipients=[friend.email], password="swordfish")
    assert [field["name"] for field in Page(browser.get(share["url"])).all("input")] == ["email", "account_password"]

    wrong = browser.post(share["url"], data={"email": friend.email, "account_password": "a wrong one"})
    assert wrong.status_code == 401
    assert [field["name"] for field in Page(wrong).all("input")] == ["email", "account_password"]
    signed_in = browser.post(share["url"], data={"email": friend.email, "account_password": friend.password})
    assert signed_in.status_code == 303
    # The form of the link's password follows. The second share pass holds both.
    assert [field["name"] for field in Page(browser.get(share["url"])).all("input")] == ["password"]
    assert browser.post(share["url"], data={"password": "swordfish"}).status_code == 303
    assert "report.pdf" in browser.get(share["url"]).text

    for change in ("is_active = false", "is_active = true, token_epoch = token_epoch + 1"):
        with services.engine.begin() as connection:
            connection.execute(text(f'UPDATE "user" SET {change} WHERE id = :id'), {"id": friend.id})  # noqa: S608 - constants of the test
        page = Page(browser.get(share["url"]))
        assert [field["name"] for field in page.all("input")] == ["email", "account_password"]
        assert browser.get(f"{share['url']}/files/{file}", follow_redirects=False).status_code == 200  # the form again
    browser.post(share["url"], data={"email": friend.email, "account_password": friend.password})
    assert "report.pdf" in browser.get(share["url"]).text
    change_share(browser, owner, share, recipients=[owner.email])
    assert browser.get(share["url"]).status_code == 404


def test_account_that_is_not_a_recipient_gets_404_after_sign_in(
    browser: httpx.Client, owner: Account, stranger: Account, file: str
) -> None:
    share = make_share(browser, owner, file, audience="named", recipients=[owner.email])

    assert browser.post(share["url"], data={"email": stranger.email, "account_password": stranger.password}).status_code == 303

    assert browser.get(share["url"]).status_code == 404


def test_share_pass_of_one_link_does_not_sign_in_to_another(browser: httpx.Client, owner: Account, stranger: Account, file: str) -> None:
    share, other = (make_share(browser, owner, file, audience="signed_in") for _ in range(2))
    form = {"email": stranger.email, "account_password": stranger.password}
    cookie = browser.post(share["url"], data=form).cookies["__Secure-share-pass"]

    assert_problem(browser.get(other["url"], headers={"X-Share-Pass": cookie, "Accept": "*/*"}), 401, "not_authenticated")
    assert browser.get(share["url"], headers={"X-Share-Pass": cookie, "Accept": "*/*"}).status_code == 200


def test_sign_in_form_is_throttled(browser: httpx.Client, owner: Account, stranger: Account, file: str) -> None:
    share = make_share(browser, owner, file, audience="signed_in")
    with time_machine.travel(clock.now(), tick=False):
        responses = [browser.post(share["url"], data={"email": stranger.email, "account_password": "guess"}) for _ in range(7)]
        elsewhere = browser.post("/api/v1/login/token", data={"username": stranger.email, "password": stranger.password})

    assert [response.status_code for response in responses] == [401] * 6 + [429]
    assert responses[-1].headers["retry-after"] == "1"
    assert Page(responses[-1]).all("a") == [{"href": share["url"]}]
    assert_problem(elsewhere, 429, "too_many_attempts")


def test_errors_are_pages_with_a_link_back(browser: httpx.Client, owner: Account, file: str) -> None:
    share = make_share(browser, owner, file, allows_download=False)

    closed, listing = browser.get("/s/none"), browser.get(f"{share['url']}/files/{file}")

    assert closed.status_code == 404
    assert Page(closed).all("a") == Page(closed).all("form") == []
    assert listing.status_code == 403
    assert Page(listing).all("a") == [{"href": share["url"]}]
    assert browser.put(share["url"]).status_code == 405
    assert Page(browser.get(f"{share['url']}/nowhere")).all("a") == [{"href": share["url"]}]
    assert browser.post(share["url"], data={}).status_code == 422


def assert_error_page(response: httpx.Response, status: int, title: str, path: str) -> None:
    """Assert that the response is an error page with a link back to `path`."""
    assert response.status_code == status
    page = Page(response)
    assert title in page.texts
    assert page.all("a") == [{"href": path}]
    assert page.all("form") == page.all("script") == []
    assert "style-src 'sha256-" in response.headers["content-security-policy"]
    assert (response.headers["cache-control"], response.headers["x-robots-tag"]) == ("no-store", "noindex, nofollow")


UNAVAILABLE = "Not available right now"


@pytest.mark.parametrize(
    ("method", "link", "end"),
    [
        ("GET", "/s/none", ""),
        ("POST", "/s/none", ""),
        ("GET", "/s/none", "/files/6f3c1e1e-0000-4000-8000-000000000000"),
        ("POST", "/s/none", "/archives"),
        ("GET", "/s/none", "/archives/6f3c1e1e-0000-4000-8000-000000000000"),
        ("GET", "/r/none", ""),
    ],
)
def test_unavailable_database_returns_an_error_page(settings: Settings, services: Services, method: str, link: str, end: str) -> None:
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://user@127.0.0.1:1/none")})
    app = create_app(away, replace(Services.build(away), store=services.store))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test") as client:
        response, plain = (
            client.request(method, link + end, data={"password": "x"} if method == "POST" else None, headers=headers)
            for headers in (BROWSER, {})
        )

    assert_error_page(response, 503, UNAVAILABLE, link)
    assert_problem(plain, 503, "database_unavailable")


@pytest.mark.parametrize("link", ["/s/none", "/r/none"])
def test_request_that_bypasses_cloudfront_gets_an_error_page(settings: Settings, services: Services, link: str) -> None:
    def fetch() -> str:
        raise UnavailableError

    app = create_app(settings, replace(services, origin_verifier=OriginVerifier([fetch])))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test", headers=BROWSER) as client:
        origin_key = {"X-Origin-Verify": "k"}
        assert_error_page(client.get(link, headers=origin_key), 503, UNAVAILABLE, link)
        assert_error_page(client.get(link), 403, "Something went wrong", link)
        assert_problem(client.get(link, headers=origin_key | {"Accept": "*/*"}), 503, "unavailable")
        assert_problem(client.get("/api/v1/users/me", headers=origin_key), 503, "unavailable")


def test_too_large_body_returns_an_error_page(browser: httpx.Client) -> None:
    assert_error_page(browser.post("/s/none", content=b"x" * 300_000), 413, "Something went wrong", "/s/none")


def test_hostile_path_is_escaped(browser: httpx.Client) -> None:
    for token in ("%22%3E%3Cscript%3E", "%27onx%3D", "%E2%80%AE", "%0d%0aSet-Cookie:x"):
        response = browser.post(f"/s/{token}", data={})
        assert response.status_code == 422
        assert Page(response).all("script") == []
        assert all((link["href"] or "").startswith("/s/%") for link in Page(response).all("a"))


def test_page_works_with_a_stage_path_and_without_tls(handler: GatewayHandler, client: httpx.Client, owner: Account, file: str) -> None:
    url = make_share(client, owner, file, password="swordfish")["url"]
    headers = {**BROWSER, "X-Forwarded-Proto": "http"}
    with httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="http://api.test", headers=headers) as staged:
        assert Page(staged.get(url)).all("form") == [{"method": "post", "action": f"/dev{url}"}]
        response = staged.post(url, data={"password": "swordfish"})
        assert response.headers["location"] == f"/dev{url}"
        assert re.match(rf"share-pass=[\w.-]+; .*Path=/dev{url}", response.headers["set-cookie"])
        assert "Secure" not in response.headers["set-cookie"]
        pass_ = response.headers["set-cookie"].split(";")[0]
        assert "report.pdf" in staged.get(url, headers={"Cookie": pass_}).text
        # With TLS, a cookie of this name is ignored: an unencrypted connection could have set it.
        assert "report.pdf" not in staged.get(url, headers={"Cookie": pass_, "X-Forwarded-Proto": "https"}).text


def test_token_and_password_of_a_link_are_not_logged(
    browser: httpx.Client, owner: Account, file: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    share = make_share(browser, owner, file, password="swordfish")
    browser.post(share["url"], data={"password": "swordfish"})
    browser.get(f"{share['url']}/files/{file}")
    browser.get(f"{share['url']}/nowhere")

    logged = "".join(JsonFormatter().format(record) for record in caplog.records) + capsys.readouterr().out
    assert '"/s/{token}"' in logged
    assert share["url"].removeprefix("/s/") not in logged
    assert "swordfish" not in logged
