"""AWS Signature Version 4 in the query string of a URL (AWS: "Create a signed AWS API request"), with the standard library only.

The output equals that of botocore's signer byte for byte, which the tests compare. botocore adds 50 ms to a cold start that signs.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""What S3 accepts in place of the body's digest, because the server does not know the body that the client will send."""
EMPTY_BODY_SHA256 = hashlib.sha256(b"").hexdigest()

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys to sign with. `token` is the session token of temporary credentials."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def sign_query(
    keys: SigningKeys, *, service: str, region: str, method: str, url: str, headers: Mapping[str, str], signed_at: datetime, seconds: int
) -> str:
    """Return `url` with a signature in its query string that is valid for `seconds`.

    `url` must be percent-encoded already. The host and all `headers` are signed. `signed_at` is in UTC, in whole seconds.
    """
    parts = urlsplit(url)
    stamp = signed_at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {"host": _host(url), **{name.lower(): " ".join(value.split()) for name, value in headers.items()}}
    names = ";".join(sorted(signed))
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": names,
    }
    if keys.token:
        parameters["X-Amz-Security-Token"] = keys.token
    added = urlencode(parameters, quote_via=quote, safe="")
    query = f"{parts.query}&{added}" if parts.query else added
    # Sort by encoded name, then by value. Sorting whole "name=value" strings would be wrong, because "=" sorts after digits.
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    canonical = "\n".join(
        (
            method,
            parts.path or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            UNSIGNED_PAYLOAD if service == "s3" else EMPTY_BODY_SHA256,
        )
    )
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_key}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{url}{'&' if parts.query else '?'}{added}&X-Amz-Signature={key.hex()}"


def _host(url: str) -> str:
    """Return the Host header that a client sends, which omits the default port of the scheme."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return host if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"
