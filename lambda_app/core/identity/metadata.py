"""The discovery documents and key sets of identity providers, cached in the process (OpenID Connect Discovery 1.0, RFC 8414)."""

import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any

from lambda_app.core.identity.http import ProviderUnavailableError, get_json
from lambda_app.core.identity.id_tokens import JwkSet, read_key_set
from lambda_app.core.identity.providers import IdentityProvider, is_allowed_url

CACHE_SECONDS = 3600.0
"""How long documents and keys are used. A key that a provider withdraws is refused after that time."""
FORCED_FETCH_SECONDS = 60.0
"""Shortest time between two fetches of keys because of an unknown key id."""
DISCOVERY_PATH = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """What the service uses of a discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_issuer: bool
    """Whether the provider names itself in every authorization response (RFC 9207)."""
    authenticates_by_post: bool
    """Whether the client secret goes into the form, because the provider does not support HTTP Basic."""
    end_session_endpoint: str | None
    """Where people sign out at the provider (OpenID Connect RP-Initiated Logout 1.0); None if it offers none."""


class ProviderDocuments:
    """Fetches and caches the documents of one provider. Safe for threads."""

    def __init__(self, provider: IdentityProvider, *, accepts_loopback: bool) -> None:
        self._provider = provider
        self._accepts_loopback = accepts_loopback
        self._lock = threading.Lock()
        self._metadata: tuple[float, ProviderMetadata] | None = None
        self._keys: tuple[float, JwkSet] | None = None

    def metadata(self) -> ProviderMetadata:
        """Return the discovery document. Raises ProviderUnavailableError."""
        with self._lock:
            return self._fresh_metadata()

    def keys_for(self, kid: str | None) -> JwkSet:
        """Return the key set; fetch it again if it lacks this key id. Raises ProviderUnavailableError."""
        with self._lock:
            now = monotonic()
            if self._keys is not None:
                fetched_at, keys = self._keys
                max_age = CACHE_SECONDS if keys.has(kid) else FORCED_FETCH_SECONDS
                if now - fetched_at < max_age:
                    return keys
            url = self._fresh_metadata().jwks_uri
            keys = read_key_set(get_json(url, accepts_loopback=self._accepts_loopback))
            self._keys = (now, keys)
            return keys

    def _fresh_metadata(self) -> ProviderMetadata:
        now = monotonic()
        if self._metadata is None or now - self._metadata[0] >= CACHE_SECONDS:
            url = self._provider.issuer.rstrip("/") + DISCOVERY_PATH
            document = get_json(url, accepts_loopback=self._accepts_loopback)
            self._metadata = (now, self._read(document))
        return self._metadata[1]

    def _read(self, document: dict[str, Any]) -> ProviderMetadata:
        # Section 4.3: the issuer must be exactly the one that was asked, or a document of another issuer could be substituted.
        if document.get("issuer") != self._provider.issuer:
            raise ProviderUnavailableError from ValueError("the discovery document is of another issuer")
        methods = document.get("token_endpoint_auth_methods_supported")
        # An optional member: without the setting, a bad one must not stop the sign-ins.
        offers_sign_out = self._provider.offers_sign_out and "end_session_endpoint" in document
        return ProviderMetadata(
            issuer=self._provider.issuer,
            authorization_endpoint=self._url(document, "authorization_endpoint"),
            token_endpoint=self._url(document, "token_endpoint"),
            jwks_uri=self._url(document, "jwks_uri"),
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
            # Without the member, HTTP Basic is the default.
            authenticates_by_post=isinstance(methods, list) and "client_secret_basic" not in methods,
            end_session_endpoint=self._url(document, "end_session_endpoint") if offers_sign_out else None,
        )

    def _url(self, document: dict[str, Any], name: str) -> str:
        value = document.get(name)
        if not isinstance(value, str) or not is_allowed_url(value, accepts_loopback=self._accepts_loopback):
            raise ProviderUnavailableError from ValueError(f"{name} of the discovery document is not an https URL")
        return value
