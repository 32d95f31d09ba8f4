"""The routes of the web app: its page, its assets, their headers, and the API paths beside them."""

import gzip
import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import httpx
import pytest
from fastapi import FastAPI

from infra.local.state import CHECKOUT
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.web_app import APP_PATHS
from lambda_app.storage.s3 import bucket_url
from tests.support.gateway import GatewayTransport, MakeEvent, payload_v1, payload_v2
from tests.support.problems import assert_problem

PAGE = b"<!doctype html><title>We-Upload</title>"
SCRIPT = b"console.log('hello');" * 100


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build of the web app, as Vite and the build step leave it."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_bytes(PAGE)
    for name, content in (("index-abc123.js", SCRIPT), ("index-abc123.css", b"body {}"), ("hash-worker-abc123.js", SCRIPT)):
        (assets / name).write_bytes(content)
        (assets / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
    return tmp_path


@pytest.fixture
def app_with_build(settings: Settings, services: Services, build: Path) -> FastAPI:
    return create_app(settings.model_copy(update={"web_app_folder": build}), services)


@pytest.fixture
def browser(app_with_build: FastAPI) -> httpx.Client:
    return httpx.Client(transport=GatewayTransport(GatewayHandler(app_with_build)), base_url="https://api.test")


@pytest.mark.parametrize("path", APP_PATHS)
def test_each_path_of_the_app_returns_the_page(browser: httpx.Client, path: str) -> None:
    response = browser.get(path)

    assert (response.status_code, response.content) == (200, PAGE)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_page_may_reach_only_its_own_origin_and_the_bucket(browser: httpx.Client, settings: Settings) -> None:
    bucket = f"{bucket_url(settings)}/"

    policy = dict(rule.split(" ", 1) for rule in browser.get("/").headers["content-security-policy"].split("; "))

    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": f"'self' {bucket}",
        "img-src": f"'self' blob: {bucket}",
        "media-src": bucket,
        "frame-src": bucket,
        "worker-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "we-upload-worker",
    }


def test_page_is_revalidated_by_its_entity_tag(browser: httpx.Client) -> None:
    etag = browser.get("/").headers["etag"]

    unchanged = browser.get("/files", headers={"If-None-Match": etag})
    changed = browser.get("/files", headers={"If-None-Match": '"other"'})

    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)
    assert changed.status_code == 200


def test_assets_are_immutable_and_compressed_at_build_time(browser: httpx.Client) -> None:
    compressed = browser.get("/assets/index-abc123.js")
    plain = browser.get("/assets/index-abc123.js", headers={"Accept-Encoding": "identity"})

    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.content == plain.content == SCRIPT
    for response in (compressed, plain):
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["vary"] == "Accept-Encoding"


def test_only_the_hash_worker_may_compile_webassembly(browser: httpx.Client) -> None:
    policies = {
        name: browser.get(f"/assets/{name}").headers["content-security-policy"] for name in ("hash-worker-abc123.js", "index-abc123.js")
    }

    assert policies["hash-worker-abc123.js"] == "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
    assert "wasm" not in policies["index-abc123.js"]


@pytest.mark.parametrize(
    "path", ["/assets/nothing.js", "/assets/..%2findex.html", "/assets/index-abc123.js.gz", "/nothing", "/api/v1/nothing"]
)
def test_other_paths_stay_json_errors(browser: httpx.Client, path: str) -> None:
    assert_problem(browser.get(path, headers={"Accept": "text/html"}), 404)


@pytest.mark.parametrize("path", ["/health", "/docs", "/openapi.json", "/api/v1/health"])
def test_api_paths_are_not_hidden(browser: httpx.Client, path: str) -> None:
    response = browser.get(path)

    assert response.status_code == 200
    assert response.content != PAGE


@pytest.mark.parametrize("event", [lambda request: payload_v2(request, stage="dev"), payload_v1], ids=["HTTP API", "REST API"])
def test_page_is_served_below_a_stage(app_with_build: FastAPI, event: MakeEvent) -> None:
    transport = GatewayTransport(GatewayHandler(app_with_build), event)
    with httpx.Client(transport=transport, base_url="https://api.test") as browser:
        assert browser.get("/files").content == PAGE


@pytest.mark.parametrize("event", [lambda request: payload_v2(request, stage="dev"), payload_v1], ids=["HTTP API", "REST API"])
def test_stage_without_trailing_slash_leads_to_the_page(app_with_build: FastAPI, event: MakeEvent) -> None:
    with_slash, without_slash = (
        httpx.Client(transport=GatewayTransport(GatewayHandler(app_with_build), make_event), base_url="https://api.test")
        for make_event in (event, partial(_at_stage_root, event))
    )

    redirect = without_slash.get("/?next=/links")

    assert (redirect.status_code, redirect.content) == (307, b"")
    assert unquote(redirect.headers["location"]) == "dev/?next=/links"
    assert urljoin("https://api.test/dev", redirect.headers["location"]).startswith("https://api.test/dev/?next=")
    assert with_slash.get("/?next=/links").content == PAGE
    assert without_slash.get("/", headers={"Host": "evil.test"}).headers["location"] == "dev/"


def _at_stage_root(make_event: MakeEvent, request: httpx.Request) -> dict[str, Any]:
    """Return the event of a request for `/dev`, without the trailing slash."""
    event = make_event(request)
    if "rawPath" in event:
        event["rawPath"] = event["requestContext"]["http"]["path"] = "/dev"
    else:
        event["requestContext"]["path"] = "/dev"
    return event


def test_app_and_api_agree_on_the_paths_of_the_screens() -> None:
    router = (CHECKOUT / "web" / "src" / "core" / "router.ts").read_text()
    lists = re.findall(r"export const (\w+_PATHS) = \[(.*?)\] as const;", router, re.DOTALL)

    assert [name for name, _ in lists] == ["PUBLIC_PATHS", "SIGNED_IN_PATHS"]
    assert {"/", *(path for _, paths in lists for path in re.findall(r'"(/[^"]*)"', paths))} == set(APP_PATHS)


def test_head_returns_the_headers_alone(browser: httpx.Client) -> None:
    response = browser.head("/")

    assert (response.status_code, response.content) == (200, b"")


def test_without_a_build_the_root_is_a_json_error(client: httpx.Client) -> None:
    assert_problem(client.get("/"), 404)
