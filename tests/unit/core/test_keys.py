"""The cache of the signing keys: when the document is fetched, and that removed keys are rejected in time."""

from datetime import timedelta
from uuid import uuid4

import pytest

from lambda_app.core.errors import NotAuthenticatedError, UnavailableError
from lambda_app.core.security import keys as module
from lambda_app.core.security.keys import FORCED_FETCH_SECONDS, KEYS_CACHE_SECONDS, KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.tokens import AccessTokens

LIFETIME = timedelta(minutes=10)


class Secret:
    """The key document in Secrets Manager, with a count of its fetches."""

    def __init__(self) -> None:
        self.ring = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
        self.fetches = 0
        self.is_down = False

    def fetch(self) -> str:
        self.fetches += 1
        if self.is_down:
            raise UnavailableError
        return self.ring.render()


@pytest.fixture
def secret() -> Secret:
    return Secret()


@pytest.fixture
def elapse(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The value of `monotonic`; the test advances it."""
    now = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def token_of(tokens: AccessTokens) -> str:
    return tokens.issue(uuid4(), session_id=uuid4(), token_epoch=0).value


def test_key_document_is_fetched_on_first_use_and_cached(secret: Secret, elapse: list[float]) -> None:
    keys = SigningKeys(secret.fetch)
    assert secret.fetches == 0
    for _ in range(10):
        keys.current()
        elapse[0] += 29
    assert secret.fetches == 1


def test_removed_key_is_rejected_within_300_seconds(secret: Secret, elapse: list[float]) -> None:
    tokens = AccessTokens(keys=SigningKeys(secret.fetch), lifetime=LIFETIME)
    token = token_of(tokens)
    secret.ring = KeyRing(current=SigningKey.generate())

    elapse[0] += KEYS_CACHE_SECONDS - 1
    tokens.read(token)
    elapse[0] += 1
    with pytest.raises(NotAuthenticatedError):
        tokens.read(token)
    assert KEYS_CACHE_SECONDS <= 300


def test_unknown_key_id_triggers_one_fetch(secret: Secret, elapse: list[float]) -> None:
    own_keys, other_keys = SigningKeys(secret.fetch), SigningKeys(secret.fetch)
    tokens, others = AccessTokens(keys=own_keys, lifetime=LIFETIME), AccessTokens(keys=other_keys, lifetime=LIFETIME)
    tokens.read(token_of(others))
    secret.ring = KeyRing(current=SigningKey.generate(), previous=secret.ring.current)
    other_keys.clear_cache()
    elapse[0] += FORCED_FETCH_SECONDS
    fetches = secret.fetches

    tokens.read(token_of(others))

    assert secret.fetches == fetches + 2


def test_fetches_for_unknown_key_ids_are_rate_limited(secret: Secret, elapse: list[float]) -> None:
    keys = SigningKeys(secret.fetch)
    for number in range(1000):
        assert keys.find(f"made-up-{number}") is None
        elapse[0] += FORCED_FETCH_SECONDS / 100
    assert secret.fetches <= 11


def test_expired_key_document_is_not_used_when_the_fetch_fails(secret: Secret, elapse: list[float]) -> None:
    tokens = AccessTokens(keys=SigningKeys(secret.fetch), lifetime=LIFETIME)
    token = token_of(tokens)
    elapse[0] += KEYS_CACHE_SECONDS
    secret.is_down = True

    with pytest.raises(UnavailableError):
        tokens.read(token)
    secret.is_down = False
    tokens.read(token)


def test_malformed_key_document_raises_unavailable(elapse: list[float]) -> None:
    with pytest.raises(UnavailableError):
        SigningKeys(lambda: '{"current": null}').current()


def test_fixed_keys_are_never_fetched_again() -> None:
    keys = SigningKeys.fixed("x" * 40)

    assert keys.find("made-up") is None
    assert keys.find(SigningKey.from_secret("x" * 40).kid) == keys.current()


def test_key_id_does_not_reveal_the_secret() -> None:
    secret = "abcdefghijklmnopqrstuvwxyz0123456789"

    assert SigningKey.from_secret(secret).kid not in secret
    assert len(SigningKey.from_secret(secret).kid) == 16
    assert secret not in repr(SigningKey.from_secret(secret))
    assert secret not in repr(KeyRing.parse(secret))


@pytest.mark.parametrize("ring", [KeyRing.parse("x" * 40), KeyRing(current=SigningKey.generate(), next=SigningKey.generate())])
def test_rotations_keep_the_refresh_key(ring: KeyRing) -> None:
    key, rotated = ring.refresh_key, ring
    assert key.secret != ring.current.secret

    for _ in range(4):
        rotated = KeyRing.parse(rotated.rotated().render())
        assert rotated.refresh_key == key
        assert rotated.find(key.kid) is None


def test_refresh_key_is_found_by_its_id_in_a_newer_document(secret: Secret, elapse: list[float]) -> None:
    keys = SigningKeys(secret.fetch)
    old = keys.refresh_key()
    secret.ring = KeyRing(current=secret.ring.current, refresh=SigningKey.generate())

    assert keys.find_refresh_key(old.kid) == old
    elapse[0] += FORCED_FETCH_SECONDS
    assert keys.find_refresh_key(secret.ring.refresh_key.kid) == secret.ring.refresh
    assert keys.find_refresh_key(old.kid) is None
    assert SigningKeys.fixed("x" * 40).find_refresh_key("made-up") is None
