"""Password hashing."""

import pytest

from lambda_app.core.security.passwords import UNKNOWN_USER_HASH, PasswordHasher


@pytest.fixture(scope="module")
def hasher() -> PasswordHasher:
    return PasswordHasher()


@pytest.mark.parametrize("password", ["correct horse", "  spaces kept  ", "ünïcödé 🔑", "nul\x00inside", "x" * 1024])
def test_password_verifies_exactly_as_submitted(hasher: PasswordHasher, password: str) -> None:
    hashed = hasher.hash(password)

    assert hasher.verify(password, hashed)
    assert not hasher.verify(password + " ", hashed)
    assert not hasher.verify(password[:-1], hashed)


@pytest.mark.parametrize(("chosen", "typed"), [("Zoe\u0308", "Zo\u00eb"), ("Zo\u00eb", "Zoe\u0308"), ("Zoe\u0308", "Zoe\u0308")])
def test_password_verifies_in_either_normalisation_form(hasher: PasswordHasher, chosen: str, typed: str) -> None:
    assert hasher.verify(typed, hasher.hash(chosen))
    assert not hasher.verify("Zoe", hasher.hash(chosen))


def test_decomposed_password_of_an_older_hash_verifies(hasher: PasswordHasher) -> None:
    assert hasher.verify("Zoe\u0308", hasher._context.hash("Zoe\u0308"))


def test_characters_after_nul_are_part_of_the_password(hasher: PasswordHasher) -> None:
    assert not hasher.verify("abc\x00one", hasher.hash("abc\x00two"))


def test_hash_is_argon2id_with_the_documented_parameters(hasher: PasswordHasher) -> None:
    assert hasher.hash("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_hash_for_unknown_users_has_the_current_parameters(hasher: PasswordHasher) -> None:
    assert not hasher.needs_rehash(UNKNOWN_USER_HASH)


def test_password_of_unknown_user_never_verifies(hasher: PasswordHasher) -> None:
    assert not hasher.verify("anything", None)


@pytest.mark.parametrize("length", [1025, 4097, 200_000])
def test_password_above_the_maximum_length_does_not_verify(hasher: PasswordHasher, length: int) -> None:
    assert not hasher.verify("x" * length, hasher.hash("x" * 1024))


def test_hash_with_weaker_parameters_needs_rehash(hasher: PasswordHasher) -> None:
    assert hasher.needs_rehash("$argon2id$v=19$m=8192,t=1,p=1$TSEUvyzCFCPwdSFdKlLsjA$dH9oCCX5ZVBHvGVaPWL9AKS8pRHwL6qvTKcWXWNT9MI")
