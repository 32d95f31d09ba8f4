"""The settings of identity providers (`IDENTITY_PROVIDERS`), validated when the process starts."""

import json
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

PROVIDERS_MAX_COUNT = 20
CLAIM_MAX_LENGTH = 64
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
"""Hosts at which a local instance may use a provider over plain HTTP, for tests."""

_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""A scope token (RFC 6749, section 3.3)."""


class IdentityProvider(BaseModel):
    """One OpenID provider."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    """Part of the callback URL and of the stored identities; it must not change."""
    name: Annotated[str, Field(min_length=1, max_length=40)]
    """Shown on the button: Continue with NAME."""
    issuer: Annotated[str, Field(max_length=255)]
    """Issuer identifier, exactly as in the provider's discovery document."""
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    """The id under which this service is registered at the provider; the audience of its ID tokens."""
    client_secret: SecretStr | None = None
    """None for a public client, which only PKCE protects, or if `IDENTITY_SECRETS_ARN` has it."""
    scopes: Annotated[tuple[str, ...], Field(max_length=20)] = ("openid", "email")
    """Requested scopes; `openid` is required."""
    trusted_email: bool = False
    """Whether a verified address of this provider proves that the person owns it: it then leads to the account with this address."""
    email_verified_claim: Annotated[str, Field(min_length=1, max_length=CLAIM_MAX_LENGTH)] = "email_verified"
    """The claim that tells whether the address is verified. Microsoft Entra sends it as `xms_edov`."""
    allowed_domains: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Domains of the addresses that may have an account through this provider. Empty: all."""
    creates_accounts: bool = False
    """Whether it creates accounts although `OPEN_REGISTRATION` is false."""
    offers_sign_out: bool = False
    """Whether the web app offers to sign out at the provider too, which must know `API_URL/sign-in` as a post-logout redirect URI."""

    @field_validator("name")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        if value != value.strip() or not value.isprintable():
            raise ValueError("must be one line without white space at its ends")
        return value

    @field_validator("issuer")
    @classmethod
    def _is_an_issuer(cls, value: str) -> str:
        # OpenID Connect Discovery 1.0, section 3, and RFC 9207, section 2.
        parts = urlsplit(value)
        if not is_allowed_url(value, accepts_loopback=True) or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("must be an https URL without query and fragment, such as https://accounts.example.com")
        return value

    @field_validator("scopes")
    @classmethod
    def _are_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value or not all(_SCOPE.fullmatch(scope) for scope in value):
            raise ValueError("must be a list of scopes that contains openid")
        return value

    @field_validator("allowed_domains")
    @classmethod
    def _are_domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        domains = tuple(domain.lower() for domain in value)
        if not all(_DOMAIN.fullmatch(domain) for domain in domains):
            raise ValueError("must be a list of domains such as example.com, without @ and without *")
        return domains

    @model_validator(mode="after")
    def _trusts_what_it_uses(self) -> "IdentityProvider":
        if (self.creates_accounts or self.allowed_domains) and not self.trusted_email:
            raise ValueError("creates_accounts and allowed_domains need trusted_email, because they depend on the provider's addresses")
        return self

    def allows(self, email: str) -> bool:
        """Whether the address, in lower case, is in one of `allowed_domains`."""
        return not self.allowed_domains or email.rpartition("@")[2] in self.allowed_domains


def is_allowed_url(url: str, *, accepts_loopback: bool) -> bool:
    """Whether it is an https URL with a host, or with `accepts_loopback` an http URL of this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or not host:
        return False
    return parts.scheme == "https" or (accepts_loopback and parts.scheme == "http" and host in LOOPBACK_HOSTS)


def parse_providers(value: Any) -> Any:
    """Return the providers of the JSON text; other values unchanged. Raises ValueError, which names the provider and the field."""
    if not isinstance(value, str):
        return value
    try:
        members = json.loads(value)
    except (ValueError, RecursionError):
        # The text of the error could contain a client secret.
        raise ValueError("is not valid JSON; it must be a list of objects (docs/configuration.md)") from None
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ValueError('must be a JSON list of objects, for example [{"id": "google", "name": "Google", …}]')
    return tuple(_parse(number, member) for number, member in enumerate(members, start=1))


def _parse(number: int, member: dict[str, Any]) -> IdentityProvider:
    try:
        return IdentityProvider.model_validate(member)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'object'}: {item['msg']}" for item in error.errors(include_input=False)]
        # The id may be missing or malformed.
        raise ValueError(f"provider {number}: {'; '.join(problems)}") from None


def require_consistent(providers: tuple[IdentityProvider, ...], *, is_local: bool) -> None:
    """Raise ValueError for providers with the same id, and outside local mode for one without https."""
    ids = [provider.id for provider in providers]
    if len(providers) > PROVIDERS_MAX_COUNT:
        raise ValueError(f"IDENTITY_PROVIDERS has {len(providers)} providers; at most {PROVIDERS_MAX_COUNT} are allowed")
    if len(set(ids)) != len(ids):
        raise ValueError("IDENTITY_PROVIDERS has two providers with the same id")
    for provider in providers:
        if not is_local and not is_allowed_url(provider.issuer, accepts_loopback=False):
            raise ValueError(f"IDENTITY_PROVIDERS: the issuer of {provider.id} must be an https URL outside local mode")
