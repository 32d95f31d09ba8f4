"""ID tokens: signature, algorithm, recipient, times, nonce, and the identity in them."""

import base64
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lambda_app.core import clock
from lambda_app.core.identity.id_tokens import BadIdTokenError, ExpectedToken, Identity, read_key_set, verify_id_token
from lambda_app.core.identity.providers import IdentityProvider
from tests.support.identity import CLIENT_ID, EC_KEY, RSA_KEY, at_hash, claims_for, ec_jwk, rsa_jwk, signed

ISSUER = "https://accounts.example.com"
NONCE = "nonce-of-this-sign-in"
PROVIDER = IdentityProvider(id="example", name="Example", issuer=ISSUER, client_id=CLIENT_ID)
KEYS = read_key_set({"keys": [rsa_jwk(), ec_jwk()]})
EXPECTED = ExpectedToken(nonce=NONCE, access_token="an-access-token")


def verify(token: str, *, provider: IdentityProvider = PROVIDER, expected: ExpectedToken = EXPECTED, keys: Any = KEYS) -> Identity:
    return verify_id_token(token, keys, provider, expected)


def claims(**changes: Any) -> dict[str, Any]:
    return claims_for(ISSUER, **{"nonce": NONCE, **changes})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_valid_token_gives_the_identity(algorithm: str) -> None:
    assert verify(signed(claims(), algorithm=algorithm)) == Identity("person-1", "ada@example.com", email_verified=True)


def test_token_with_a_list_of_one_audience_and_own_azp_is_accepted() -> None:
    assert verify(signed(claims(aud=[CLIENT_ID], azp=CLIENT_ID, at_hash=at_hash("an-access-token")))).subject == "person-1"


REFUSED: dict[str, dict[str, Any]] = {
    "other_issuer": {"iss": "https://evil.example.com"},
    "issuer_with_slash": {"iss": f"{ISSUER}/"},
    "no_issuer": {"iss": None},
    "other_audience": {"aud": "another-client"},
    "two_audiences": {"aud": [CLIENT_ID, "another-client"]},
    "no_audience": {"aud": None},
    "issued_to_another_client": {"azp": "another-client"},
    "expired": {"exp": int(clock.now().timestamp()) - 3600, "iat": int(clock.now().timestamp())},
    "no_expiry": {"exp": None},
    "expiry_as_text": {"exp": "9999999999"},
    "issued_tomorrow": {"iat": 4102444800, "exp": 4102448400},
    "issued_yesterday": {"iat": int(clock.now().timestamp()) - 86400},
    "no_issue_time": {"iat": None},
    "issue_time_is_true": {"iat": True},
    "other_nonce": {"nonce": "nonce-of-another-sign-in"},
    "no_nonce": {"nonce": None},
    "nonce_is_a_list": {"nonce": [NONCE]},
    "hash_of_another_access_token": {"at_hash": at_hash("another-access-token")},
    "no_subject": {"sub": None},
    "empty_subject": {"sub": ""},
    "long_subject": {"sub": "x" * 256},
    "subject_is_a_number": {"sub": 7},
    "subject_with_a_line_break": {"sub": "a\nb"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_token_with_a_wrong_claim_is_refused(name: str) -> None:
    with pytest.raises(BadIdTokenError):
        verify(_encoded(claims(**REFUSED[name])))


def _encoded(members: dict[str, Any]) -> str:
    """Sign any claims, also those that the library of the tests would refuse to encode."""
    header = {"alg": "RS256", "kid": "r1", "typ": "JWT"}
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, members))
    return f"{text}.{_rsa_signature(text)}"


def _rsa_signature(text: str) -> str:
    return base64.urlsafe_b64encode(RSA_KEY.sign(text.encode(), PKCS1v15(), SHA256())).decode().rstrip("=")


@pytest.mark.parametrize("email", ["a\x00@example.com", "\ud800@example.com", "a\n@example.com", 7, ["a@example.com"], "a" * 400])
def test_address_that_cannot_be_stored_counts_as_none(email: object) -> None:
    assert verify(_encoded(claims(email=email))) == Identity("person-1", None, email_verified=False)


def test_unsigned_token_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "r1"}).encode()).decode().rstrip("=")
        payload = base64.urlsafe_b64encode(json.dumps(claims()).encode()).decode().rstrip("=")
        for signature in ("", "AA"):
            with pytest.raises(BadIdTokenError):
                verify(f"{header}.{payload}.{signature}")


def test_public_key_is_not_accepted_as_an_hmac_secret() -> None:
    public = RSA_KEY.public_key()
    secrets = [public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), json.dumps(rsa_jwk()).encode()]
    for secret in secrets:
        header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "r1"}).encode()).decode().rstrip("=")
        payload = base64.urlsafe_b64encode(json.dumps(claims()).encode()).decode().rstrip("=")
        mac = base64.urlsafe_b64encode(hmac.digest(secret, f"{header}.{payload}".encode(), "sha256")).decode().rstrip("=")
        with pytest.raises(BadIdTokenError):
            verify(f"{header}.{payload}.{mac}")


def test_symmetric_key_in_the_key_set_is_not_used() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    octet = {"kty": "oct", "kid": "s1", "k": base64.urlsafe_b64encode(secret).decode().rstrip("=")}
    with pytest.raises(BadIdTokenError):
        verify(signed(claims(), algorithm="HS256", key=secret, kid="s1"), keys=read_key_set({"keys": [octet]}))


def test_token_of_another_key_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(BadIdTokenError):
        verify(signed(claims(), key=other))
    with pytest.raises(BadIdTokenError):
        verify(signed(claims(), key=other, jwk=rsa_jwk(other), jku="https://evil.example.com/jwks"))


def test_other_algorithms_of_the_same_key_are_refused() -> None:
    for algorithm in ("RS384", "RS512", "PS256"):
        with pytest.raises(BadIdTokenError):
            verify(signed(claims(), algorithm=algorithm, key=RSA_KEY, kid="r1"))
    with pytest.raises(BadIdTokenError):
        verify(signed(claims(), algorithm="ES256", key=EC_KEY, kid="r1"))


def test_critical_extension_is_refused() -> None:
    with pytest.raises(BadIdTokenError):
        verify(signed(claims(), crit=["exp"]))


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c.d", "a.b.c", "x" * 20_000, "é.é.é", "[].e30.AA", "W10.e30.AA"])
def test_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(BadIdTokenError):
        verify(token)


def test_token_without_a_key_id_needs_a_set_with_one_key() -> None:
    token = signed(claims(), kid=None)

    assert verify(token, keys=read_key_set({"keys": [rsa_jwk(kid=None)]})).subject == "person-1"
    with pytest.raises(BadIdTokenError):
        verify(token)


def test_weak_and_unusable_keys_are_left_out() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the weak key that must be refused
    other_curve = ec.generate_private_key(ec.SECP384R1())
    documents: list[Any] = [
        {"keys": [rsa_jwk(weak)]},
        {"keys": [rsa_jwk(use="enc")]},
        {"keys": [rsa_jwk(alg="RS512")]},
        {"keys": [rsa_jwk(n="A" * 4000)]},
        {"keys": [rsa_jwk(e="A" * 400)]},
        {"keys": [ec_jwk(other_curve)]},
        {"keys": [ec_jwk(x="AAAA")]},
        {"keys": ["text", 7, None, {"kty": []}]},
        {"keys": {}},
        {},
    ]
    assert [read_key_set(document).keys for document in documents] == [()] * len(documents)


def test_private_members_of_a_key_are_ignored() -> None:
    (_, _, key) = read_key_set({"keys": [rsa_jwk(d="AQAB")]}).keys[0]

    assert not hasattr(key.prepared_key, "private_bytes")


def test_address_counts_as_verified_only_if_the_claim_confirms_it() -> None:
    def is_verified(**changes: Any) -> bool:
        return verify(signed(claims(**changes))).email_verified

    assert [is_verified(email_verified=value) for value in (True, "true", "1", 1)] == [True] * 4
    others: tuple[Any, ...] = (False, "false", "yes", 0, 2, [True], {}, None)
    assert [is_verified(email_verified=value) for value in others] == [False] * len(others)
    assert not is_verified(email=None)
    assert not is_verified(email=["ada@example.com"])
    assert not is_verified(email=f"{'a' * 300}@example.com")


def test_verified_claim_has_the_name_of_the_settings() -> None:
    entra = PROVIDER.model_copy(update={"email_verified_claim": "xms_edov"})

    assert verify(signed(claims(email_verified=None, xms_edov="1")), provider=entra).email_verified
    assert not verify(signed(claims(email_verified=True)), provider=entra).email_verified


def test_new_authentication_is_required_where_it_was_asked_for() -> None:
    expected = ExpectedToken(nonce=NONCE, access_token=None, authenticated_after=clock.now())
    now = int(clock.now().timestamp())

    assert verify(signed(claims(auth_time=now)), expected=expected).subject == "person-1"
    for auth_time in (None, now - timedelta(hours=1).total_seconds(), "now"):
        with pytest.raises(BadIdTokenError):
            verify(signed(claims(auth_time=auth_time)), expected=expected)
