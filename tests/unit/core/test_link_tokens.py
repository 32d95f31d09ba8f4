"""Encryption of the tokens of links."""

from uuid import UUID

import pytest

from lambda_app.core.errors import UnavailableError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.link_tokens import ENCRYPTED_TOKEN_MAX_LENGTH, LinkTokenCipher
from lambda_app.core.security.random_tokens import new_link_token, new_secret

RING = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
ROW, OTHER_ROW = UUID(int=1), UUID(int=2)


def cipher_with(ring: KeyRing) -> LinkTokenCipher:
    return LinkTokenCipher(SigningKeys.fixed(ring.render()))


@pytest.mark.parametrize("token", [new_link_token(), new_secret()], ids=["link", "secret"])
def test_token_is_encrypted_differently_each_time_and_decrypted(token: str) -> None:
    cipher = cipher_with(RING)
    encrypted = [cipher.encrypt(token, row_id=ROW) for _ in range(2)]

    assert encrypted[0] != encrypted[1]
    assert token not in str(encrypted)
    assert [cipher.decrypt(text, row_id=ROW) for text in encrypted] == [token, token]


def test_ciphertext_is_bound_to_its_row() -> None:
    cipher = cipher_with(RING)

    assert cipher.decrypt(cipher.encrypt("token", row_id=ROW), row_id=OTHER_ROW) is None


@pytest.mark.parametrize("position", [0, 20, 30, -1])
def test_changed_ciphertext_is_not_decrypted(position: int) -> None:
    encrypted = list(cipher_with(RING).encrypt("token-token-token", row_id=ROW))
    encrypted[position] = "A" if encrypted[position] != "A" else "B"

    assert cipher_with(RING).decrypt("".join(encrypted), row_id=ROW) in (None, "token-token-token" if position == -1 else None)


@pytest.mark.parametrize(
    "text",
    [None, "", ".", "x", "x.", ".AAAA", *(f"{RING.current.kid}.{text}" for text in ("", "A", "\u00e9"))],
    ids=[str(number) for number in range(9)],
)
def test_malformed_ciphertext_is_not_decrypted(text: str | None) -> None:
    assert cipher_with(RING).decrypt(text, row_id=ROW) is None


def test_token_is_readable_until_its_key_is_removed() -> None:
    encrypted = cipher_with(RING).encrypt("token", row_id=ROW)
    once, twice = RING.rotated(), RING.rotated().rotated()

    assert cipher_with(once).decrypt(encrypted, row_id=ROW) == "token"
    assert cipher_with(twice).decrypt(encrypted, row_id=ROW) is None
    assert cipher_with(RING).is_current(encrypted)
    assert not cipher_with(once).is_current(encrypted)


def test_token_from_before_the_link_key_is_readable_with_the_signing_keys() -> None:
    signing_keys, link_keys = (SigningKeys.fixed(ring.render()) for ring in (RING, KeyRing(current=SigningKey.generate())))
    encrypted = LinkTokenCipher(signing_keys).encrypt("token", row_id=ROW)
    cipher = LinkTokenCipher(link_keys, fallback=signing_keys)

    assert cipher.decrypt(encrypted, row_id=ROW) == "token"
    assert cipher.decrypt(encrypted, row_id=OTHER_ROW) is None
    assert not cipher.is_current(encrypted)
    assert cipher.is_current(cipher.encrypt("token", row_id=ROW))
    assert LinkTokenCipher(link_keys).decrypt(encrypted, row_id=ROW) is None


def test_longest_ciphertext_fits_the_column() -> None:
    ring = KeyRing(current=SigningKey(kid="k" * 64, secret="s" * 64))

    assert len(cipher_with(ring).encrypt(new_secret(), row_id=ROW)) <= ENCRYPTED_TOKEN_MAX_LENGTH


def test_missing_keys_are_an_error_that_the_caller_can_retry() -> None:
    def fetch() -> str:
        raise UnavailableError

    with pytest.raises(UnavailableError):
        LinkTokenCipher(SigningKeys(fetch)).encrypt("token", row_id=ROW)
