"""Calls of the API: retries, renewal of a session, addresses, errors."""

from typing import Any

import pytest
from we_upload import Client, ConnectionFailedError, NotFoundError, RateLimitedError, ServerError, UploadError, http
from we_upload.errors import ADVICE
from we_upload.http import normalise_server
from we_upload.retries import parse_retry_after
from we_upload.session import Session, Tokens


def problem(status: int, code: str = "unavailable", **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    return status, {"status": status, "code": code, "detail": "It failed"}, headers


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_temporary_error_is_repeated(client: Client, server: Any, status: int) -> None:
    server.refusals = [problem(status), problem(status)]

    assert list(client.files()) == []
    assert server.calls["GET /files"] == 3


def test_long_retry_after_is_left_to_the_caller(client: Client, server: Any) -> None:
    server.refusals = [problem(429, "too_many_attempts", **{"Retry-After": "900"})]

    with pytest.raises(RateLimitedError) as error:
        list(client.files())

    assert error.value.retry_after_seconds == 900
    assert error.value.advice == ADVICE["too_many_attempts"]


def test_lasting_error_is_raised_at_once(client: Client, server: Any) -> None:
    server.refusals = [problem(500, "internal_error")]

    with pytest.raises(ServerError):
        list(client.files())

    assert server.calls["GET /files"] == 1


def test_answer_that_is_not_json_is_an_error_with_its_status(client: Client, server: Any) -> None:
    server.refusals = [(404, None, {})]

    with pytest.raises(NotFoundError) as error:
        client.file("00000000-0000-0000-0000-000000000000")

    assert error.value.code == "http_404"


def test_session_is_renewed_once_and_the_call_repeated(client: Client, server: Any) -> None:
    stored: list[Tokens] = []
    client.api.credentials = Session(client.api, Tokens("old", "refresh"), on_renewed=stored.append)
    server.refusals = [
        problem(401, "not_authenticated"),
        (200, {"access_token": "wup_test", "refresh_token": "next"}, {}),
    ]

    list(client.files())

    assert stored == [Tokens("wup_test", "next")]
    assert server.calls == {"GET /files": 2, "POST /login/refresh": 1}


def test_tokens_that_another_process_renewed_are_used(client: Client, server: Any) -> None:
    client.api.credentials = Session(client.api, Tokens("old", "refresh"), reload=lambda: Tokens("wup_test", "next"))

    list(client.files())

    assert server.calls == {"GET /files": 2}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://files.example.com/", "https://files.example.com"),
        ("files.example.com", "https://files.example.com"),
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000/api/v1/", "http://127.0.0.1:8000"),
        ("https://x.example.com/dev/api/v1", "https://x.example.com/dev"),
    ],
)
def test_address_of_a_server_is_normalised(given: str, expected: str) -> None:
    assert normalise_server(given) == expected


@pytest.mark.parametrize("given", ["ftp://files.example.com", "https://", "https://a.example.com/?q=1", ""])
def test_other_addresses_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="not the address of a server"):
        normalise_server(given)


def test_credentials_are_not_sent_to_the_server_of_a_foreign_link(client: Client, server: Any) -> None:
    foreign = client.share_link("http://localhost:1/s/abcdefghijklmnopqrstuv")
    own = client.share_link(f"{server.url}/s/abcdefghijklmnopqrstuv")

    assert foreign._api.credentials is None
    assert own._api.credentials is client.api.credentials


def test_credentials_are_not_sent_to_the_object_store(client: Client, server: Any) -> None:
    client.upload(b"abc", name="file")

    assert server.store_authorizations == [None]


def test_endless_answer_is_refused(client: Client, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_MAX_BYTES", 100)
    server.refusals = [(200, {"padding": "x" * 200}, {})] * 8

    with pytest.raises(ConnectionFailedError, match="longer than 100 bytes"):
        client.me()


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), (None, None), ("soon", None), ("Fri, 01 Jan 2021 00:00:00 GMT", 0.0)])
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_every_error_has_a_code() -> None:
    assert UploadError("It failed").code == "upload_failed"
