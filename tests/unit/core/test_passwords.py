"""Password hashes."""

import pytest

from lambda_app.core.security.passwords import UNKNOWN_USER_HASH, PasswordHasher


@pytest.fixture(scope="module")
def hasher() -> PasswordHasher:
    return PasswordHasher()


@pytest.mark.parametrize("password", ["correct horse", "  spaces kept  ", "ünïcödé 🔑", "nul\x00inside", "x" * 1024])
def test_password_verifies_exactly_as_typed(hasher: PasswordHasher, password: str) -> None:
    hashed = hasher.hash(password)

    assert hasher.verify(password, hashed)
    assert not hasher.verify(password + " ", hashed)
    assert not hasher.verify(password[:-1], hashed)


def test_nul_does_not_end_a_password(hasher: PasswordHasher) -> None:
    assert not hasher.verify("abc\x00one", hasher.hash("abc\x00two"))


def test_hash_is_argon2id_with_the_documented_parameters(hasher: PasswordHasher) -> None:
    assert hasher.hash("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_unknown_user_costs_the_same_parameters_as_a_known_one(hasher: PasswordHasher) -> None:
    assert not hasher.needs_rehash(UNKNOWN_USER_HASH)


def test_unknown_user_never_verifies(hasher: PasswordHasher) -> None:
    assert not hasher.verify("anything", None)


@pytest.mark.parametrize("length", [1025, 4097, 200_000])
def test_password_longer_than_any_we_keep_does_not_verify(hasher: PasswordHasher, length: int) -> None:
    assert not hasher.verify("x" * length, hasher.hash("x" * 1024))


def test_hash_with_weaker_parameters_wants_a_rehash(hasher: PasswordHasher) -> None:
    assert hasher.needs_rehash("$argon2id$v=19$m=8192,t=1,p=1$TSEUvyzCFCPwdSFdKlLsjA$dH9oCCX5ZVBHvGVaPWL9AKS8pRHwL6qvTKcWXWNT9MI")
