"""The sign-in at an identity provider: authorization code flow with PKCE (RFC 9700). Runs outside the VPC and uses no database."""

import base64
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import quote_plus, urlencode

from lambda_app.core.errors import NotFoundError, PermissionDeniedError
from lambda_app.core.identity.assertions import Assertions, Purpose
from lambda_app.core.identity.flow_cookies import Flow, FlowCookies
from lambda_app.core.identity.http import ProviderResponseError, ProviderUnavailableError, post_form
from lambda_app.core.identity.id_tokens import ExpectedToken, Identity, key_id_of, verify_id_token
from lambda_app.core.identity.metadata import ProviderDocuments, ProviderMetadata
from lambda_app.core.identity.providers import IdentityProvider
from lambda_app.core.security.keys import SigningKeys

CODE_MAX_LENGTH = 4096
SECRETS_CACHE_SECONDS = 300.0
"""How long the client secrets from Secrets Manager are used."""

logger = logging.getLogger(__name__)


class SignInExpiredError(PermissionDeniedError):
    """The browser has no started sign-in for this response of the provider, or has used it."""

    code = "sign_in_expired"
    message = "This sign-in was not started in this browser or took too long; start it again"


class NoProviderSignOutError(PermissionDeniedError):
    """The provider offers no sign-out to other services, or the settings do not use it."""

    code = "no_provider_sign_out"
    message = "This provider offers no sign-out here; sign out on its own page"


class SignInCancelledError(PermissionDeniedError):
    """The provider refused, or the person cancelled."""

    code = "sign_in_cancelled"
    message = "The sign-in at the provider was cancelled"


@dataclass(frozen=True, slots=True)
class StartedFlow:
    """Where to send the browser, and the value of its cookie."""

    url: str
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompletedFlow:
    """What the browser gets: the assertion for the API, and the secret to which it is bound."""

    assertion: str = field(repr=False)
    binding: str = field(repr=False)


class ClientSecrets:
    """The secrets of this service at the providers: from the settings, or from one secret of Secrets Manager. Safe for threads."""

    def __init__(self, fetch: Callable[[], str] | None) -> None:
        self._fetch = fetch
        self._cached: tuple[float, Mapping[str, str]] | None = None

    def get(self, provider: IdentityProvider) -> str | None:
        """Return the client secret; None for a public client. Raises ProviderUnavailableError, UnavailableError."""
        if provider.client_secret is not None:
            return provider.client_secret.get_secret_value()
        if self._fetch is None:
            return None
        now, cached = monotonic(), self._cached
        if cached is None or now - cached[0] >= SECRETS_CACHE_SECONDS:
            try:
                members = json.loads(self._fetch())
                cached = (now, {str(name): str(value) for name, value in members.items()})
            except (ValueError, AttributeError) as error:
                # Not as the cause, whose text could contain a part of the secret.
                logger.error("the secret with the client secrets is not a JSON object: %s", type(error).__name__)
                raise ProviderUnavailableError from None
            self._cached = cached
        return cached[1].get(provider.id)


class IdentityFlows:
    """Starts and completes sign-ins at the providers of the settings."""

    def __init__(
        self, providers: tuple[IdentityProvider, ...], *, keys: SigningKeys, client_secrets: ClientSecrets, accepts_loopback: bool
    ) -> None:
        self._providers = {provider.id: provider for provider in providers}
        self._documents = {provider.id: ProviderDocuments(provider, accepts_loopback=accepts_loopback) for provider in providers}
        self._cookies = FlowCookies(keys)
        self._assertions = Assertions(keys)
        self._client_secrets = client_secrets
        self._accepts_loopback = accepts_loopback

    def start(self, provider_id: str, purpose: Purpose, *, redirect_uri: str, link: str = "") -> StartedFlow:
        """Return the authorization request. Raises NotFoundError for an unknown provider, ProviderUnavailableError, UnavailableError."""
        provider = self._require(provider_id)
        metadata, flow = self._documents[provider.id].metadata(), Flow.start(provider.id, purpose, link=link)
        parameters = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        if purpose is Purpose.PROOF:
            # The person has to authenticate again; `auth_time` shows whether the provider made them.
            parameters |= {"prompt": "login", "max_age": "0"}
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return StartedFlow(f"{metadata.authorization_endpoint}{separator}{urlencode(parameters)}", self._cookies.seal(flow))

    def sign_out_url(self, provider_id: str, *, return_uri: str) -> str:
        """Return the address at which a person signs out at the provider (OpenID Connect RP-Initiated Logout 1.0).

        Without a hint of the ID token, which is not kept: the provider then has to ask the person, and no other site can sign people out.

        Raises NotFoundError for an unknown provider, NoProviderSignOutError, ProviderUnavailableError.
        """
        provider = self._require(provider_id)
        endpoint = self._documents[provider.id].metadata().end_session_endpoint if provider.offers_sign_out else None
        if endpoint is None:
            raise NoProviderSignOutError
        separator = "&" if "?" in endpoint else "?"
        parameters = {"client_id": provider.client_id, "post_logout_redirect_uri": return_uri}
        return f"{endpoint}{separator}{urlencode(parameters)}"

    def find_flow(self, provider_id: str, cookie: str | None, parameters: Mapping[str, str]) -> Flow:
        """Return the flow to which a response of the provider belongs. Raises NotFoundError, SignInExpiredError, UnavailableError."""
        provider, flow = self._require(provider_id), self._cookies.open(cookie)
        state = parameters.get("state", "")
        # A flow that was started at another provider is refused: a malicious one could have sent the person to this callback (mix-up).
        if flow is None or flow.provider != provider.id or not secrets.compare_digest(flow.state.encode(), state.encode()):
            raise SignInExpiredError
        return flow

    def complete(self, flow: Flow, parameters: Mapping[str, str], *, redirect_uri: str) -> CompletedFlow:
        """Exchange the code, verify the ID token, and return the assertion.

        Raises SignInCancelledError, SignInExpiredError, BadIdTokenError, ProviderUnavailableError, UnavailableError.
        """
        provider = self._require(flow.provider)
        documents = self._documents[provider.id]
        metadata = documents.metadata()
        # RFC 9207: the response names its issuer, so that a response of another provider is noticed.
        if parameters.get("iss", metadata.issuer) != metadata.issuer or (metadata.names_issuer and "iss" not in parameters):
            raise SignInExpiredError
        if "error" in parameters:
            logger.info("sign-in refused by the provider", extra={"fields": {"provider": provider.id}})
            raise SignInCancelledError
        code = parameters.get("code", "")
        if not 0 < len(code) <= CODE_MAX_LENGTH:
            raise SignInExpiredError
        identity = self._exchange(provider, metadata, flow, code, redirect_uri=redirect_uri)
        assertion = self._assertions.issue(
            identity, purpose=flow.purpose, provider=provider.id, issuer=provider.issuer, binding=flow.binding
        )
        return CompletedFlow(assertion, flow.binding)

    def _exchange(self, provider: IdentityProvider, metadata: ProviderMetadata, flow: Flow, code: str, *, redirect_uri: str) -> Identity:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": provider.client_id,
            "code_verifier": flow.verifier,
        }
        headers = {}
        client_secret = self._client_secrets.get(provider)
        if client_secret is not None and metadata.authenticates_by_post:
            form["client_secret"] = client_secret
        elif client_secret is not None:
            # RFC 6749, section 2.3.1: both parts are form-encoded first.
            credentials = f"{quote_plus(provider.client_id)}:{quote_plus(client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        try:
            tokens = post_form(metadata.token_endpoint, form, headers, accepts_loopback=self._accepts_loopback)
        except ProviderResponseError as error:
            fields = {"provider": provider.id, "status": error.http_status}
            if error.oauth_error == "invalid_grant":
                logger.info("the provider refused the code", extra={"fields": fields})
                raise SignInExpiredError from error
            logger.error("the provider refused the token request", extra={"fields": fields})
            raise
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise ProviderUnavailableError from ValueError("the token response has no ID token")
        expected = ExpectedToken(
            nonce=flow.nonce,
            access_token=access_token if isinstance(access_token, str) else None,
            authenticated_after=flow.started if flow.purpose is Purpose.PROOF else None,
        )
        keys = self._documents[provider.id].keys_for(key_id_of(id_token))
        return verify_id_token(id_token, keys, provider, expected)

    def _require(self, provider_id: str) -> IdentityProvider:
        provider = self._providers.get(provider_id)
        if provider is None:
            raise NotFoundError
        return provider
