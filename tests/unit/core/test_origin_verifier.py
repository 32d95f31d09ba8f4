"""The proof that a request came through CloudFront."""

from collections.abc import Callable

import pytest

from lambda_app.core.errors import UnavailableError
from lambda_app.core.security.origin_verifier import DirectAccessError, OriginVerifier

NEW, OLD = "n" * 64, "o" * 64


class Vault:
    """Secrets that count how often they are fetched."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.fetched: list[str] = []

    def fetchers(self) -> list[Callable[[], str]]:
        return [lambda key=key: self._fetch(key) for key in self.keys]  # type: ignore[misc]  # bound now, not at the call

    def _fetch(self, key: str) -> str:
        self.fetched.append(key)
        return key


def test_both_secrets_are_accepted_during_rotation() -> None:
    door = OriginVerifier(Vault(NEW, OLD).fetchers())

    door.require(NEW.encode())
    door.require(OLD.encode())


@pytest.mark.parametrize("proof", [None, b"", b"x", NEW.encode()[:-1], NEW.encode() + b"n", b"\xff" * 64, f"{NEW},{NEW}".encode()])
def test_invalid_secret_is_rejected(proof: bytes | None) -> None:
    door = OriginVerifier(Vault(NEW, OLD).fetchers())

    with pytest.raises(DirectAccessError):
        door.require(proof)


def test_secrets_are_fetched_once_and_the_older_one_only_on_demand() -> None:
    vault = Vault(NEW, OLD)
    door = OriginVerifier(vault.fetchers())

    for _ in range(3):
        door.require(NEW.encode())
    assert vault.fetched == [NEW]
    for _ in range(3):
        with pytest.raises(DirectAccessError):
            door.require(b"guess")
    assert vault.fetched == [NEW, OLD]


def test_request_without_secret_header_triggers_no_fetch() -> None:
    vault = Vault(NEW)

    with pytest.raises(DirectAccessError):
        OriginVerifier(vault.fetchers()).require(None)

    assert vault.fetched == []


def test_failed_fetch_raises_and_is_retried_by_the_next_request() -> None:
    answers: list[str | Exception] = [UnavailableError(), NEW]

    def fetch() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    door = OriginVerifier([fetch])

    with pytest.raises(UnavailableError):
        door.require(NEW.encode())
    door.require(NEW.encode())


def test_empty_secret_is_rejected() -> None:
    with pytest.raises(DirectAccessError):
        OriginVerifier([lambda: ""]).require(b"")


def test_clear_cache_drops_fetched_secrets() -> None:
    vault = Vault(NEW)
    door = OriginVerifier(vault.fetchers())
    door.require(NEW.encode())

    door.clear_cache()
    door.require(NEW.encode())

    assert vault.fetched == [NEW, NEW]
