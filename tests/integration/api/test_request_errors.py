"""Errors that tell people what to send: media types, values, query parameters, spellings of a path, and when to retry."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from tests.support.accounts import Account, make_file, start_upload
from tests.support.authorisation import routes
from tests.support.problems import assert_problem
from tests.support.shares import make_share

API = "/api/v1"
DECLARED = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 1}

FOR_PROGRAMMERS = re.compile(
    r"Input should|String should|List should|valid (?:dictionary|string|integer|list|boolean|datetime)|after validation|<\w+\."
    r"|pattern|regex|\^\[|Value error|object to extract|ctx|None\b"
)
"""Words of pydantic and of Python, which no caller should read."""


@pytest.mark.parametrize(
    ("path", "options", "media_type"),
    [
        (
            "/files/upload",
            {"content": "{}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            "application/json",
        ),
        ("/files/upload", {"files": {"file": ("a.txt", b"hello")}}, "application/json"),
        ("/files/upload", {"content": '{"filename": "a"}', "headers": {"Content-Type": "text/plain"}}, "application/json"),
        ("/login/refresh", {"data": {"refresh_token": "x"}}, "application/json"),
        ("/login/token", {"json": {"username": "a@example.com", "password": "x"}}, "application/x-www-form-urlencoded"),
    ],
    ids=["curl -d", "curl -F", "text", "form instead of JSON", "JSON instead of a form"],
)
def test_body_in_another_format_gets_the_expected_format(
    client: httpx.Client, owner: Account, path: str, options: dict[str, Any], media_type: str
) -> None:
    headers = {**owner.headers, **options.pop("headers", {})}

    response = client.post(API + path, headers=headers, **options)

    assert_problem(response, 415, "unsupported_media_type")
    assert response.json()["detail"].endswith(f"with Content-Type: {media_type}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_type": "png"}, "must be a media type such as image/png"),
        ({"content_type": "image/*"}, "must be one media type such as image/png, not a range of types"),
        ({"content_type": "text/plain; charset"}, "must have parameters of the form name=value, as in text/plain; charset=utf-8"),
        ({"size_bytes": "1"}, "must be a whole number"),
        ({"size_bytes": -1}, "must be at least 0"),
        ({"sha256": "abc"}, "must be a SHA-256 in hex: 64 characters 0-9 and a-f"),
        ({"filename": ""}, "must have at least 1 character"),
        ({"filename": None}, "must be text"),
        ({"is_public": "yes"}, "must be true or false"),
        ({"colour": "red"}, "is not a known field; remove it"),
    ],
)
def test_invalid_value_is_explained_in_a_sentence(client: httpx.Client, owner: Account, changes: dict[str, Any], message: str) -> None:
    response = client.post(f"{API}/files/upload", json={**DECLARED, **changes}, headers=owner.headers)

    assert_problem(response, 422, "malformed_request")
    name = next(iter(changes))
    assert response.json()["detail"] == f"The request is malformed: {name} {message}"
    assert [(problem["loc"][-1], problem["msg"]) for problem in response.json()["errors"]] == [(name, message)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=foo", "status must be one of: pending, available, rejected, expired, trashed"),
        ("limit=0", "limit must be at least 1"),
        ("limit=ten", "limit must be a whole number in decimal digits"),
        ("created_after=yesterday", "created_after must be a time with a time zone, such as 2026-01-31T12:00:00Z"),
        ("file_request_id=7", "file_request_id must be an id, such as 6f3c1e1e-0000-4000-8000-000000000000"),
        ("count=maybe", "count must be true or false"),
    ],
)
def test_invalid_query_parameter_is_explained_in_a_sentence(client: httpx.Client, owner: Account, query: str, message: str) -> None:
    response = client.get(f"{API}/files?{query}", headers=owner.headers)

    assert_problem(response, 422, "malformed_request", detail=f"The request is malformed: {message}")


def bad_values(schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[Any]:
    """Yield values that a property with this schema must refuse, or at least may refuse."""
    for variant in schema.get("anyOf", [schema]):
        resolved = schemas[variant["$ref"].rsplit("/", 1)[-1]] if "$ref" in variant else variant
        if "enum" in resolved or "const" in resolved:
            yield "none of these"
        if resolved.get("type") == "string":
            yield from (7, "x" * 5000, "\x00")
        elif resolved.get("type") in ("integer", "number"):
            yield from ("seven", -(10**30), 10**30, 1.5)
        elif resolved.get("type") == "boolean":
            yield "perhaps"
        elif resolved.get("type") == "array":
            yield from ("no list", [], [{"a": 1}], ["x"] * 5000)
        elif resolved.get("type") == "object":
            yield "no object"


def messages_of(response: httpx.Response) -> list[str]:
    """Return the messages about the fields of a malformed request."""
    return [problem["msg"] for problem in response.json()["errors"]] if response.status_code == 422 and "errors" in response.json() else []


def test_no_message_is_worded_for_programmers(client: httpx.Client, app: FastAPI, admin: Account) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    problems = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = path.replace("{", "").replace("}", "")
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            reference = body.get("$ref") or next((part["$ref"] for part in body.get("anyOf", ()) if "$ref" in part), "")
            properties = schemas.get(reference.rsplit("/", 1)[-1], {}).get("properties", {})
            for name, schema in properties.items():
                for value in bad_values(schema, schemas):
                    response = client.request(method, where, json={name: value}, headers=admin.headers)
                    assert response.status_code < 500, response.text
                    problems += (
                        [(path, name, problem["msg"]) for problem in response.json().get("errors") or ()] if response.content else []
                    )
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    for value in ("", "\x00", "-1", "x" * 5000, "none of these"):
                        response = client.request(method, where, params={parameter["name"]: value}, headers=admin.headers)
                        problems += [(path, parameter["name"], message) for message in messages_of(response)]

    assert len(problems) > 200
    assert [problem for problem in problems if FOR_PROGRAMMERS.search(problem[2]) or problem[2] == "is not valid"] == []


@pytest.mark.parametrize("path", ["/files?statsu=pending", "/files?q=a&owner=me", "/shares?limt=5", "/users/me?x=1", "/archives?cursor_=1"])
def test_unknown_query_parameter_is_refused(client: httpx.Client, owner: Account, path: str) -> None:
    response = client.get(API + path, headers=owner.headers)

    assert_problem(response, 422, "unknown_parameter")
    assert response.json()["detail"].startswith("Unknown query parameter '")


def test_addresses_that_people_pass_on_accept_tracking_parameters(client: httpx.Client) -> None:
    assert_problem(client.get("/s/there-is-no-link?utm_source=mail"), 404, "link_not_found")
    assert client.get("/health?probe=1").status_code == 200


def test_trailing_slash_never_matters(client: httpx.Client, app: FastAPI) -> None:
    for method, path in routes(app):
        where = re.sub(r"\{[a-z_]+\}", str(UUID(int=0)), path).rstrip("/")
        plain, slashed = (client.request(method, spelling) for spelling in (where, f"{where}/"))

        assert slashed.status_code == plain.status_code, (method, path)
        assert slashed.json().get("code") == plain.json().get("code") if "json" in plain.headers.get("content-type", "") else True


def test_files_and_accounts_can_be_changed_by_patch(client: httpx.Client, owner: Account) -> None:
    file = start_upload(client, owner)["file_id"]

    changed = client.patch(f"{API}/files/{file}", json={"description": "new"}, headers=owner.headers)

    assert (changed.status_code, changed.json()["description"]) == (200, "new")
    assert client.patch(f"{API}/users/me", json={}, headers=owner.headers).status_code == 200
    assert client.patch(f"{API}/users/{owner.id}", json={}, headers=owner.headers).status_code == 200


def test_current_version_of_a_file_is_not_sent_again(client: httpx.Client, owner: Account) -> None:
    path = f"{API}/files/{start_upload(client, owner)['file_id']}"
    etag = client.get(path, headers=owner.headers).headers["etag"]

    unchanged = [client.get(path, headers={**owner.headers, "If-None-Match": tag}) for tag in (etag, "*", f'"other", {etag}', f"W/{etag}")]
    changed = client.get(path, headers={**owner.headers, "If-None-Match": '"other"'})

    assert [(response.status_code, response.content, response.headers["etag"]) for response in unchanged] == [(304, b"", etag)] * 4
    assert changed.status_code == 200


@pytest.mark.parametrize(
    ("declared", "signed"),
    [
        ("text/plain ; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/html;", "text/html"),
        ("text/plain;charset=utf-8 ;  format=flowed", "text/plain; charset=utf-8; format=flowed"),
        ('text/plain; a="x; y"', 'text/plain; a="x; y"'),
        ("", "application/octet-stream"),
    ],
)
def test_content_type_may_have_optional_white_space_or_be_unknown(client: httpx.Client, owner: Account, declared: str, signed: str) -> None:
    upload = start_upload(client, owner, content_type=declared)

    assert upload["headers"]["Content-Type"] == signed


def test_lists_accept_both_spellings_of_a_family_of_types_and_of_the_name(client: httpx.Client, owner: Account) -> None:
    make_file(client, owner, content_type="image/png", filename="b.png")
    make_file(client, owner, content_type="image/png", filename="a.png")
    make_file(client, owner, content_type="text/plain", filename="c.txt")

    listed = [
        [file["filename"] for file in client.get(f"{API}/files?{query}", headers=owner.headers).json()]
        for query in ("content_type=image/&sort=name", "content_type=image/*&sort=filename")
    ]

    assert listed == [["a.png", "b.png"]] * 2


def test_body_of_a_refusal_states_when_to_retry(client: httpx.Client, owner: Account) -> None:
    form = {"username": owner.email, "password": "not the password"}
    responses = [client.post(f"{API}/login/token", data=form) for _ in range(8)]

    refused = next(response for response in responses if response.status_code == 429)
    assert refused.json()["retry_after_seconds"] == int(refused.headers["retry-after"]) > 0


def test_white_space_around_an_address_is_ignored(client: httpx.Client) -> None:
    email, password = f"spaces+tag-{uuid4()}@example.com", "correct horse"

    registered = client.post(f"{API}/users/", json={"email": f" {email} ", "password": password})
    signed_in = client.post(f"{API}/login/token", data={"username": f"{email} ", "password": password})

    assert (registered.status_code, registered.json()["email"]) == (201, email)
    assert signed_in.status_code == 200


def test_invalid_form_of_a_share_page_is_a_malformed_request(client: httpx.Client, owner: Account) -> None:
    share = make_share(client, owner, make_file(client, owner)["id"], password="swordfish")

    response = client.post(share["url"], data={"password": "x", "email": ""})

    assert_problem(response, 422, "malformed_request")
