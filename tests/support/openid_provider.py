"""A minimal OpenID provider on 127.0.0.1 that a test can make misbehave: other keys, claims and documents, slow and oversized responses."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlsplit
from uuid import uuid4

from tests.support.identity import CLIENT_ID, at_hash, claims_for, ec_jwk, rsa_jwk, signed

CLIENT_SECRET = "s3cret of the client/ü"


class MinimalProvider:
    """The provider. Tests change its attributes; each has the honest value at first."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys: list[dict[str, Any]] = [rsa_jwk(), ec_jwk()]
        self.discovery_changes: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.padding = ""
        self.drip_seconds = 0.0
        self.status = 200
        self.requests: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def authorize(self, location: str) -> dict[str, str]:
        """Let the person agree to an authorization request; return the parameters of the response."""
        request = dict(parse_qsl(urlsplit(location).query))
        code = uuid4().hex
        self._codes[code] = request
        return {"code": code, "state": request["state"], "iss": self.issuer}

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document."""
        endpoints = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
        return {"issuer": self.issuer, **endpoints, "authorization_response_iss_parameter_supported": True, **self.discovery_changes}

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return the response to a token request. The code is valid once, for its client, redirect URI and verifier."""
        request = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if request is None or challenge != request["code_challenge"] or form.get("redirect_uri") != request["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        access_token = uuid4().hex
        claims = claims_for(self.issuer, **{"nonce": request["nonce"], "at_hash": at_hash(access_token), **self.claims})
        return 200, {"access_token": access_token, "token_type": "Bearer", "id_token": self.sign(claims)}


@contextmanager
def minimal_provider() -> Iterator[MinimalProvider]:
    """Serve the provider on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            provider.requests.append(path)
            document = provider.discovery() if path.endswith("openid-configuration") else {"keys": provider.keys}
            self._send(provider.status, document)

        def do_POST(self) -> None:
            provider.requests.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._send(*provider.exchange(form, self.headers.get("Authorization", "")))

        def _send(self, status: int, document: dict[str, Any]) -> None:
            content = json.dumps({**document, "padding": provider.padding}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status in (301, 302, 307):
                self.send_header("Location", f"{provider.issuer}/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(OSError):
                if not provider.drip_seconds:
                    self.wfile.write(content)
                    return
                for byte in content:
                    self.wfile.write(bytes([byte]))
                    time.sleep(provider.drip_seconds)

        def log_message(self, *_: object) -> None:
            """Write nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider = MinimalProvider(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    server.server_close()
    thread.join()
