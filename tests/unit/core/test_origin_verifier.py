"""Verification that a request came through CloudFront."""

from collections.abc import Callable

import pytest

from lambda_app.core.errors import UnavailableError
from lambda_app.core.security.origin_verifier import DirectAccessError, OriginVerifier

NEW, OLD = "n" * 64, "o" * 64


class FakeSecrets:
    """Secrets that record each fetch."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.fetched: list[str] = []

    def fetchers(self) -> list[Callable[[], str]]:
        return [lambda key=key: self._fetch(key) for key in self.keys]  # type: ignore[misc]  # binds `key` at definition

    def _fetch(self, key: str) -> str:
        self.fetched.append(key)
        return key


def test_both_secrets_are_accepted_during_rotation() -> None:
    verifier = OriginVerifier(FakeSecrets(NEW, OLD).fetchers())

    verifier.require(NEW.encode())
    verifier.require(OLD.encode())


@pytest.mark.parametrize("secret", [None, b"", b"x", NEW.encode()[:-1], NEW.encode() + b"n", b"\xff" * 64, f"{NEW},{NEW}".encode()])
def test_invalid_secret_is_rejected(secret: bytes | None) -> None:
    verifier = OriginVerifier(FakeSecrets(NEW, OLD).fetchers())

    with pytest.raises(DirectAccessError):
        verifier.require(secret)


def test_secrets_are_fetched_once_and_the_older_one_only_on_demand() -> None:
    secrets = FakeSecrets(NEW, OLD)
    verifier = OriginVerifier(secrets.fetchers())

    for _ in range(3):
        verifier.require(NEW.encode())
    assert secrets.fetched == [NEW]
    for _ in range(3):
        with pytest.raises(DirectAccessError):
            verifier.require(b"guess")
    assert secrets.fetched == [NEW, OLD]


def test_request_without_secret_header_triggers_no_fetch() -> None:
    secrets = FakeSecrets(NEW)

    with pytest.raises(DirectAccessError):
        OriginVerifier(secrets.fetchers()).require(None)

    assert secrets.fetched == []


def test_failed_fetch_raises_and_is_retried_by_the_next_request() -> None:
    results: list[str | Exception] = [UnavailableError(), NEW]

    def fetch() -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    verifier = OriginVerifier([fetch])

    with pytest.raises(UnavailableError):
        verifier.require(NEW.encode())
    verifier.require(NEW.encode())


def test_empty_secret_is_rejected() -> None:
    with pytest.raises(DirectAccessError):
        OriginVerifier([lambda: ""]).require(b"")


def test_clear_cache_drops_fetched_secrets() -> None:
    secrets = FakeSecrets(NEW)
    verifier = OriginVerifier(secrets.fetchers())
    verifier.require(NEW.encode())

    verifier.clear_cache()
    verifier.require(NEW.encode())

    assert secrets.fetched == [NEW, NEW]
