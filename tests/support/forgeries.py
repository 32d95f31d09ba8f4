"""Forged access tokens that must be refused, encoded without a library, and a reference implementation that reads tokens with PyJWT."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import jwt as pyjwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lambda_app.core import clock
from lambda_app.core.security.keys import SigningKey
from lambda_app.core.security.tokens import ACCESS_TOKEN_TYPE, ALGORITHM, AUDIENCE, ISSUER, TOKEN_MAX_BYTES

HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
CLAIMS = ("aud", "epoch", "exp", "iat", "iss", "jti", "sid", "sub", "typ")
LIFETIME_SECONDS = 600
PATHS = [
    "../../../../dev/null",
    "/dev/null",
    "/etc/passwd",
    "..\\..\\nul",
    "file:///dev/null",
    "https://evil.example/key",
    "/proc/self/environ",
]
SQL = ["' OR '1'='1", "x' UNION SELECT 'key' --", '"; DROP TABLE "user"; --', "1; SELECT pg_sleep(10)", "%' OR 1=1 --", "\\'; --"]
ODD_KIDS: list[Any] = ["", " ", "\x00", "\n", "é", "x" * 1000, None, 0, True, [], {}, ["a"], {"a": 1}, 1.5]


def b64(data: bytes) -> str:
    """Return the data in unpadded base64url, the encoding of JSON Web Signatures."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass(frozen=True)
class Victim:
    """The user whose tokens are forged, and the signing key. Most forgeries are signed correctly and have only one other defect."""

    key: SigningKey
    user_id: UUID = field(default_factory=uuid4)
    session_id: UUID = field(default_factory=uuid4)
    epoch: int = 0

    @cached_property
    def now(self) -> int:
        """The time of issue of all tokens, in seconds since 1970."""
        return int(clock.now().timestamp())

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return valid claims with changes; the value `...` removes a claim."""
        good = {
            "sub": str(self.user_id),
            "sid": str(self.session_id),
            "epoch": self.epoch,
            "jti": str(uuid4()),
            "iat": self.now,
            "exp": self.now + LIFETIME_SECONDS,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": ACCESS_TOKEN_TYPE,
        }
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return a valid header with changes; the value `...` removes a member."""
        good = {"alg": ALGORITHM, "typ": "JWT", "kid": self.key.kid}
        return {name: value for name, value in (good | changes).items() if value is not ...}

    def sign(self, header: Any = None, payload: Any = None, *, key: bytes | None = None, by: str = "HS256") -> str:
        """Return a signed token of these parts, which can be bytes that are not JSON."""
        parts = [self.header() if header is None else header, self.claims() if payload is None else payload]
        encoded = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
        text = ".".join(b64(part) for part in encoded)
        secret = self.key.secret.encode() if key is None else key
        return f"{text}.{b64(hmac.new(secret, text.encode(), HASHES[by]).digest())}"


def forgeries(victim: Victim) -> dict[str, str]:
    """Return the forged tokens by name."""
    makers = (
        _algorithms,
        _confusions,
        _kids,
        _headers,
        _nested,
        _claims,
        _times,
        _audiences,
        _broken,
        _flipped,
        _other_keys,
        _other_states,
    )
    tokens: dict[str, str] = {}
    for maker in makers:
        for name, token in maker(victim):
            assert name not in tokens, name
            tokens[name] = token
    return tokens


def _algorithms(victim: Victim) -> Iterator[tuple[str, str]]:
    names: list[Any] = ["none", "None", "NONE", "nOnE", " none", "", "hs256", "HS257", None, 0, True, ["HS256"], {"HS256": 1}, ["none"]]
    for number, name in enumerate(names):
        token = victim.sign(victim.header(alg=name))
        yield f"alg {number} {name!r} signed", token
        yield f"alg {number} {name!r} unsigned", token.rsplit(".", 1)[0] + "."
        yield f"alg {number} {name!r} with junk", token.rsplit(".", 1)[0] + ".AAAA"
    yield "no alg", victim.sign(victim.header(alg=...))
    for name in ("HS384", "HS512"):
        yield f"alg {name} by our key", victim.sign(victim.header(alg=name), by=name)
        yield f"alg HS256 that is {name}", victim.sign(by=name)


def _public_forms(public: Any) -> dict[str, bytes]:
    encoding, public_format = serialization.Encoding, serialization.PublicFormat
    forms = {
        "PEM": public.public_bytes(encoding.PEM, public_format.SubjectPublicKeyInfo),
        "DER": public.public_bytes(encoding.DER, public_format.SubjectPublicKeyInfo),
        "SSH": public.public_bytes(encoding.OpenSSH, public_format.OpenSSH),
    }
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        parts = {"n": numbers.n, "e": numbers.e}
        jwk = {"kty": "RSA"} | {name: b64(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in parts.items()}
        forms["JWK"] = json.dumps(jwk).encode()
        forms["PKCS1"] = public.public_bytes(encoding.PEM, public_format.PKCS1)
    return forms


def _confusions(victim: Victim) -> Iterator[tuple[str, str]]:
    """Sign with a public key as the HMAC secret, and with private keys of the attacker."""
    pairs: dict[str, Any] = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    for algorithm, private in pairs.items():
        own = pyjwt.encode(victim.claims(), private, algorithm=algorithm, headers={"kid": victim.key.kid})
        yield f"signed by one's own {algorithm}", own
        yield f"one's own {algorithm} called HS256", b64(json.dumps(victim.header()).encode()) + "." + own.split(".", 1)[1]
        for form, secret in _public_forms(private.public_key()).items():
            for by in HASHES:
                yield f"{algorithm} public key as {form} under {by}", victim.sign(victim.header(alg=by), key=secret, by=by)
            yield f"{algorithm} {form} under its own name", victim.sign(victim.header(alg=algorithm), key=secret)


def _kids(victim: Victim) -> Iterator[tuple[str, str]]:
    for number, kid in enumerate([*PATHS, *SQL, *ODD_KIDS]):
        yield f"kid {number} {str(kid)[:20]!r} by our key", victim.sign(victim.header(kid=kid))
        yield f"kid {number} {str(kid)[:20]!r} by nothing", victim.sign(victim.header(kid=kid), key=b"")
    yield "no kid", victim.sign(victim.header(kid=...))
    yield "kid in capitals", victim.sign(victim.header(kid=victim.key.kid.upper() + "A"))
    yield "kid of a removed key", victim.sign(victim.header(kid=SigningKey.generate().kid))


def _headers(victim: Victim) -> Iterator[tuple[str, str]]:
    jwk = {"kty": "oct", "k": b64(b"attacker" * 8)}
    extras: dict[str, Any] = {
        "jwk": jwk,
        "jku": "https://evil.example/keys.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": ["AAAA"],
        "x5t": "AAAA",
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "enc": "A256GCM",
        "cty": "JWT",
    }
    for name, value in extras.items():
        yield f"header {name} by our key", victim.sign(victim.header(**{name: value}))
        yield f"header {name} by the attacker's", victim.sign(victim.header(**{name: value}), key=b"attacker" * 8)
    for name, header in {
        "a list": b"[]",
        "a string": b'"x"',
        "a number": b"1",
        "null": b"null",
        "not JSON": b"{",
        "not UTF-8": b"\xff\xfe",
    }.items():
        yield f"header {name}", victim.sign(header)
    yield "header empty", victim.sign({})
    yield "header typ another", victim.sign(victim.header(typ="JWE"))


def _nested(victim: Victim) -> Iterator[tuple[str, str]]:
    for depth in (50, 200, 500, 1000, 1300):
        for name, opening in (("lists", b"["), ("objects", b'{"a":')):
            nested = opening * (depth if name == "lists" else depth // 4)
            yield f"header of {depth} nested {name}", victim.sign(b'{"alg":"HS256","typ":"JWT","kid":' + nested)
            yield f"payload of {depth} nested {name}", victim.sign(payload=nested)


def _claims(victim: Victim) -> Iterator[tuple[str, str]]:
    wrong: list[Any] = [..., None, [], {}, True, "", "x", -1, 1.5, [1], "\x00"]
    for name in CLAIMS:
        for value in wrong:
            yield f"{name} {'missing' if value is ... else repr(value)}", victim.sign(payload=victim.claims(**{name: value}))
    for name, payload in {
        "a list": b"[1]",
        "a string": b'"x"',
        "null": b"null",
        "not JSON": b"{",
        "not UTF-8": b"\xff\xfe",
        "empty": b"",
    }.items():
        yield f"payload {name}", victim.sign(payload=payload)
    yield "sub SQL", victim.sign(payload=victim.claims(sub="1 OR 1=1"))
    yield "sub a name", victim.sign(payload=victim.claims(sub="admin"))
    yield "typ refresh", victim.sign(payload=victim.claims(typ="refresh"))
    yield "typ in capitals", victim.sign(payload=victim.claims(typ="ACCESS"))
    yield "is_superuser and no sub", victim.sign(payload=victim.claims(sub=..., is_superuser=True))
    yield "padded over the limit", victim.sign(payload=victim.claims(pad="x" * TOKEN_MAX_BYTES))


def _times(victim: Victim) -> Iterator[tuple[str, str]]:
    now = victim.now
    times: list[tuple[str, Any]] = [
        *[("exp", now - seconds) for seconds in (0, 1, 2, 10, 600, 86_400)],
        *[("exp", value) for value in (0, str(now + 60), now + 60.5, float("inf"), float("nan"), 1e308, now + 100_000, 2**63, 2**200)],
        *[("nbf", now + seconds) for seconds in (60, 300, 86_400)],
        *[("nbf", value) for value in ("soon", ["soon"], {"a": 1})],
        *[("iat", now + seconds) for seconds in (60, 300, 86_400)],
        *[("iat", value) for value in (str(now), now + 0.5, float("nan"), 0)],
    ]
    for number, (name, value) in enumerate(times):
        yield f"time {number}: {name}", victim.sign(payload=victim.claims(**{name: value}))
    yield "expired by a second", victim.sign(payload=victim.claims(iat=now - LIFETIME_SECONDS - 1, exp=now - 1))


def _audiences(victim: Victim) -> Iterator[tuple[str, str]]:
    for name, right in (("aud", AUDIENCE), ("iss", ISSUER)):
        values: list[Any] = [
            "other",
            right.upper(),
            right + " ",
            right[:-1],
            [right],
            [right, "other"],
            {right: 1},
            f"{right}\x00",
            f"https://{right}",
        ]
        for value in values:
            yield f"{name} {value!r}", victim.sign(payload=victim.claims(**{name: value}))


def _broken(victim: Victim) -> Iterator[tuple[str, str]]:
    good = victim.sign()
    header, payload, signature = good.split(".")
    whole = {
        "empty": "",
        "a word": "abc",
        "dots": "..",
        "more dots": "....",
        "two parts": f"{header}.{payload}",
        "four parts": f"{good}.x",
        "five parts": f"{header}.{payload}.{signature}.{payload}.{signature}",
        "no header": f".{payload}.{signature}",
        "no payload": f"{header}..{signature}",
        "no signature": f"{header}.{payload}.",
        "payload twice": f"{header}.{payload}{payload}.{signature}",
        "parts in another order": f"{payload}.{header}.{signature}",
        "NUL at the end": f"{good}\x00",
        "lone surrogate at the end": f"{good}\ud800",
        "é inside": good.replace("e", "é", 1),
        "JSON serialisation": json.dumps({"protected": header, "payload": payload, "signature": signature}),
        "dots of another script": good.replace(".", "。"),
    }
    yield from ((f"broken: {name}", token) for name, token in whole.items())
    for cut in range(1, 31):
        yield f"truncated by {cut}", good[:-cut]
    for cut in range(1, 11):
        yield f"begun {cut} late", good[cut:]


def _flipped(victim: Victim) -> Iterator[tuple[str, str]]:
    """Change one character. The last one of the signature is left out, because two of its bits are not significant."""
    good = victim.sign()
    header, payload, signature = good.split(".")
    for place in range(0, 42, 2):
        yield f"signature changed at {place}", f"{header}.{payload}.{_changed(signature, place)}"
    for place in range(0, len(payload) - 1, 12):
        yield f"payload changed at {place}", f"{header}.{_changed(payload, place)}.{signature}"


def _changed(text: str, place: int) -> str:
    return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


def _other_keys(victim: Victim) -> Iterator[tuple[str, str]]:
    secret = victim.key.secret
    keys = {
        "empty": b"",
        "longer": f"{secret}x".encode(),
        "shorter": secret[:-1].encode(),
        "backwards": secret[::-1].encode(),
        "its hash": hashlib.sha256(secret.encode()).digest(),
        "its base64": base64.b64encode(secret.encode()),
        "its name": victim.key.kid.encode(),
        "a word": b"secret",
        "random": SigningKey.generate().secret.encode(),
        "with a newline": f"{secret}\n".encode(),
    }
    yield from ((f"signed by a key {name}", victim.sign(key=key)) for name, key in keys.items())


def _other_states(victim: Victim) -> Iterator[tuple[str, str]]:
    """Correctly signed tokens with an unknown session or user, or another epoch."""
    changes: dict[str, Any] = {
        "session unknown": {"sid": str(uuid4())},
        "user unknown": {"sub": str(uuid4())},
        "epoch old": {"epoch": victim.epoch - 1},
        "epoch of the future": {"epoch": victim.epoch + 1},
        "epoch huge": {"epoch": 2**31},
        "epoch beyond the database": {"epoch": 2**70},
        "session the user": {"sid": str(victim.user_id)},
        "user the session": {"sub": str(victim.session_id)},
        "nil session": {"sid": str(UUID(int=0))},
        "nil user": {"sub": str(UUID(int=0))},
    }
    yield from ((f"state: {name}", victim.sign(payload=victim.claims(**change))) for name, change in changes.items())


def reference_accepts(victim: Victim, token: str) -> bool:
    """Return whether the reference implementation (PyJWT with the same rules) accepts the token as the victim's."""
    rules: Any = {"require": list(CLAIMS), "verify_aud": True, "strict_aud": True}
    try:
        header = pyjwt.get_unverified_header(token)
        read = pyjwt.decode(token, victim.key.secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER, options=rules)
        is_ours = sorted(header.items()) == [("alg", "HS256"), ("kid", victim.key.kid), ("typ", "JWT")]
        whole = all(type(read[name]) is int for name in ("epoch", "exp", "iat"))
        is_valid_period = whole and 0 < read["exp"] - read["iat"] <= LIFETIME_SECONDS
        ids = (UUID(read["sub"]), UUID(read["sid"])) == (victim.user_id, victim.session_id) and UUID(read["jti"]) is not None
    except (pyjwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return False
    return (
        is_ours and is_valid_period and ids and read["typ"] == "access" and read["epoch"] == victim.epoch and len(token) <= TOKEN_MAX_BYTES
    )
