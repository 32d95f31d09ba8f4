"""Sign-in with an identity provider: the flow, the attacks on it, accounts and their linking, fresh proofs, closed passwords."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select, text, update

from lambda_app.application import create_app, create_identity_app
from lambda_app.core import clock
from lambda_app.core.identity import http as provider_http
from lambda_app.core.identity.providers import IdentityProvider
from lambda_app.core.security.totp import totp_code
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.factory import IdentityServices, Services, identity_keys
from lambda_app.models import AuditEvent, Invitation, User, UserIdentity
from lambda_app.repositories.accounts.identities import IdentityRepository
from lambda_app.repositories.sharing.open_access import OpenAccessRepository
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, MakeEvent, payload_v1, payload_v2
from tests.support.identity import CLIENT_ID, at_hash, rsa_jwk, signed
from tests.support.openid_provider import CLIENT_SECRET, MinimalProvider, minimal_provider
from tests.support.other_ways import has_other_ways, open_other_ways
from tests.support.pages import Page
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.second_factor import current_step, set_up
from tests.support.shares import BROWSER, make_share

API = "/api/v1"
SESSION = f"{API}/session"
ASSERTION = f"{SESSION}/assertion"
ME = f"{API}/users/me"
IDENTITIES = f"{ME}/identities"
PROOF = f"{ME}/proof"
ORIGIN = "https://api.test"
PAGE = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "X-We-Upload-Session": "1"}
CHECKOUT = Path(__file__).parents[3]
FLOW = "__Host-we-upload-flow"
BINDING = "__Host-we-upload-binding"


@dataclass
class Site:
    """An API with providers, and the provider behind all of them."""

    settings: Settings
    services: Services
    provider: MinimalProvider
    app: FastAPI

    @cached_property
    def identity(self) -> IdentityServices:
        """What the routes of the flow use."""
        return IdentityServices.build(self.settings, self.services.aws)

    def changed(self, **changes: Any) -> "Site":
        """Return the site with other settings."""
        settings = self.settings.model_copy(update=changes)
        return Site(settings, replace(self.services, settings=settings), self.provider, self.app)

    def with_provider(self, **changes: Any) -> "Site":
        """Return the site with another setting of its first provider."""
        first, *others = self.settings.identity_providers
        return self.changed(identity_providers=(first.model_copy(update=changes), *others))

    def browser(self, *, make_event: Any = None) -> httpx.Client:
        """Return a page of the site, with a cookie jar of its own."""
        return httpx.Client(transport=SiteTransport(self, make_event or payload_v2), base_url=ORIGIN, headers=PAGE)

    def user(self, email: str) -> User | None:
        """Return the account with this address."""
        with self.services.unit_of_work() as session:
            return session.execute(select(User).where(User.email == email)).scalar_one_or_none()

    def identities(self, email: str) -> list[UserIdentity]:
        """Return the identities of the account with this address."""
        with self.services.unit_of_work() as session:
            query = select(UserIdentity).join(User, User.id == UserIdentity.user_id).where(User.email == email)
            return list(session.execute(query).scalars())


class SiteTransport(GatewayTransport):
    """Gives the shared application the services of one site for each request: creating an application takes long."""

    def __init__(self, site: Site, make_event: MakeEvent) -> None:
        super().__init__(GatewayHandler(site.app), make_event)
        self._site = site

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request in process."""
        self._site.app.state.services, self._site.app.state.identity = self._site.services, self._site.identity
        return super().handle_request(request)


@pytest.fixture(scope="module")
def shared_app(settings: Settings, services: Services) -> FastAPI:
    return create_app(settings, services)


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[MinimalProvider]:
    with minimal_provider() as provider:
        yield provider


@pytest.fixture
def site(settings: Settings, services: Services, shared_provider: MinimalProvider, shared_app: FastAPI) -> Site:
    """An API with two providers: `trusted`, whose verified addresses count, and `other`, whose addresses do not."""
    fresh = MinimalProvider(shared_provider.issuer)
    shared_provider.__dict__.update(fresh.__dict__)
    shared_provider.claims = {"sub": f"person-{uuid4()}", "email": f"{uuid4()}@example.com"}
    common = {"issuer": shared_provider.issuer, "client_id": CLIENT_ID, "client_secret": SecretStr(CLIENT_SECRET)}
    providers = (
        IdentityProvider(id="trusted", name="Trusted", trusted_email=True, **common),
        IdentityProvider(id="other", name="Other", **common),
    )
    changed = settings.model_copy(
        update={"identity_providers": providers, "identity_key": SecretStr("i" * 20 + "0123456789abcdef"), "api_url": ORIGIN}
    )
    return Site(
        changed, replace(services, settings=changed, identity_keys=identity_keys(changed, services.aws)), shared_provider, shared_app
    )


def start(browser: httpx.Client, provider: str = "trusted", **parameters: str) -> str:
    """Start a sign-in, and return the authorization request."""
    response = browser.get(f"/sign-in/{provider}", params=parameters)
    assert response.status_code == 303, response.text
    return response.headers["location"]


def come_back(browser: httpx.Client, parameters: dict[str, str], provider: str = "trusted") -> dict[str, str]:
    """Take the response of the provider to the callback, and return the members of the fragment."""
    # The provider's page is on another site.
    response = browser.get(f"/sign-in/{provider}/callback", params=parameters, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 303, response.text
    location = urlsplit(response.headers["location"])
    assert (location.scheme, location.netloc, location.query) == ("", "", "")
    assert location.path in ("/sign-in", "/settings")
    assert response.headers["cache-control"] == "no-store"
    return dict(parse_qsl(location.fragment))


def at_provider(site: Site, browser: httpx.Client, provider: str = "trusted", **parameters: str) -> str:
    """Go to the provider and come back; return the assertion."""
    return come_back(browser, site.provider.authorize(start(browser, provider, **parameters)), provider)["assertion"]


def sign_in(site: Site, browser: httpx.Client, provider: str = "trusted", **members: Any) -> httpx.Response:
    """Sign in with the identity that the provider currently states."""
    return browser.post(ASSERTION, json={"assertion": at_provider(site, browser, provider), **members})


def bearer(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def make_session(browser: httpx.Client, account: Account) -> dict[str, str]:
    """Sign in with the password; return the credentials."""
    return bearer(browser.post(SESSION, json={"email": account.email, "password": account.password}))


# The flow


def test_authorization_request_has_pkce_state_and_nonce_and_hides_the_cookie(site: Site) -> None:
    browser = site.browser()
    response = browser.get("/sign-in/trusted")

    url = urlsplit(response.headers["location"])
    request = dict(parse_qsl(url.query))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{site.provider.issuer}/authorization_endpoint"
    assert {name: request[name] for name in ("response_type", "client_id", "redirect_uri", "scope", "code_challenge_method")} == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{ORIGIN}/sign-in/trusted/callback",
        "scope": "openid email",
        "code_challenge_method": "S256",
    }
    assert {len(request[name]) for name in ("state", "nonce", "code_challenge")} == {43}
    (cookie,) = response.headers.get_list("set-cookie")
    assert cookie.startswith(f"{FLOW}=")
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"))
    assert request["state"] not in cookie


def test_person_gets_an_account_and_returns_to_it(site: Site) -> None:
    browser, email = site.browser(), site.provider.claims["email"]
    first = sign_in(site, browser)

    account = browser.get(ME, headers=bearer(first)).json()
    assert (account["email"], account["email_verified"], account["is_superuser"]) == (email, True, False)
    assert first.headers["cache-control"] == "no-store"
    assert FLOW not in browser.cookies
    assert BINDING not in browser.cookies
    methods = browser.get(IDENTITIES, headers=bearer(first)).json()
    assert not methods["has_password"]
    assert [identity["provider"] for identity in methods["identities"]] == ["trusted"]
    # Another address at the provider, the same person.
    site.provider.claims["email"] = "changed@example.com"
    again = sign_in(site, site.browser())
    assert browser.get(ME, headers=bearer(again)).json()["id"] == account["id"]
    assert browser.get(IDENTITIES, headers=bearer(again)).json()["identities"][0]["email"] == "changed@example.com"
    assert_problem(browser.post(SESSION, json={"email": email, "password": "x" * 20}), 401, "bad_credentials")


def test_flow_works_below_a_stage_prefix(site: Site) -> None:
    browser = site.changed(api_url=f"{ORIGIN}/dev").browser(make_event=payload_v1)
    location = start(browser)

    assert dict(parse_qsl(urlsplit(location).query))["redirect_uri"] == f"{ORIGIN}/dev/sign-in/trusted/callback"
    response = browser.get("/sign-in/trusted/callback", params=site.provider.authorize(location))
    assert response.headers["location"].startswith("/dev/sign-in#")
    assert f"{FLOW}.dev" not in browser.cookies


def test_new_sign_in_ends_the_session_that_the_browser_had(site: Site, owner: Account) -> None:
    browser = site.browser()
    old = make_session(browser, owner)

    new = bearer(sign_in(site, browser))

    assert_unauthenticated(browser.get(ME, headers=old))
    assert browser.get(ME, headers=new).status_code == 200


def test_config_lists_the_providers_without_their_settings(site: Site) -> None:
    config = site.browser().get(f"{API}/config").json()

    assert config["password_sign_in"] is True
    assert config["sign_in_providers"] == [
        {"id": "trusted", "name": "Trusted", "offers_sign_out": False},
        {"id": "other", "name": "Other", "offers_sign_out": False},
    ]
    assert CLIENT_ID not in json.dumps(config)


def test_function_outside_the_vpc_serves_only_the_flow(site: Site) -> None:
    app = create_identity_app(site.settings, site.identity)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url=ORIGIN) as browser:
        assert "assertion" in come_back(browser, site.provider.authorize(start(browser)))
        for path in ("/", "/sign-in", "/health", "/openapi.json", ME, f"{API}/config", "/sign-in/trusted/other"):
            assert browser.get(path).status_code == 404
        assert browser.post("/sign-in/trusted").status_code == 405
    assert not hasattr(app.state, "services")


def test_entry_point_outside_the_vpc_needs_only_its_own_settings() -> None:
    provider = {"id": "company", "name": "Company", "issuer": "https://login.example.com", "client_id": "c"}
    environment = {
        "IDENTITY_PROVIDERS": json.dumps([provider]),
        "IDENTITY_KEY": "Kd9Hb5Gm2Ja7Ef0Zp4vYw8sTq1LrN6uXc3",
        "API_URL": "https://files.example.com",
    }
    code = "from lambda_app.identity_main import handler; print(handler.__class__.__name__)"
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert finished.stdout == "GatewayHandler\n", finished.stderr


def test_unknown_provider_is_not_found(site: Site) -> None:
    assert site.browser().get("/sign-in/unknown").status_code == 404
    assert site.browser().get("/sign-in/unknown/callback").status_code == 404


# Attacks on the flow


def test_page_of_another_site_cannot_start_a_sign_in(site: Site) -> None:
    for value in ("cross-site", "same-site"):
        response = site.browser().get("/sign-in/trusted", headers={"Sec-Fetch-Site": value})
        assert response.headers["location"] == "/sign-in#purpose=sign_in"
        assert "set-cookie" not in response.headers


def test_redirect_leads_nowhere_else(site: Site) -> None:
    browser = site.browser()
    for name in ("next", "return_to", "redirect_uri", "state", "post_login"):
        location = start(browser, **{name: "https://evil.example.com/"})
        assert "evil" not in location
    parameters = site.provider.authorize(start(browser))
    response = browser.get("/sign-in/trusted/callback", params={**parameters, "next": "//evil.example.com"})
    assert response.headers["location"].startswith("/sign-in#")
    assert "evil" not in response.headers["location"]


def test_host_header_does_not_change_the_callback_url(site: Site) -> None:
    response = site.browser().get("/sign-in/trusted", headers={"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com"})

    assert "evil" not in response.headers["location"]


def test_response_that_was_started_in_another_browser_is_refused(site: Site) -> None:
    attacker, victim = site.browser(), site.browser()
    parameters = site.provider.authorize(start(attacker))

    assert come_back(victim, parameters) == {"purpose": "sign_in", "error": "sign_in_expired"}
    start(victim)
    assert come_back(victim, parameters) == {"purpose": "sign_in", "error": "sign_in_expired"}
    # The attacker's own browser still has its flow.
    assert "assertion" in come_back(attacker, parameters)


def test_stolen_fragment_is_of_no_use_in_another_browser(site: Site) -> None:
    victim, attacker = site.browser(), site.browser()
    stolen = at_provider(site, victim)

    assert_problem(attacker.post(ASSERTION, json={"assertion": stolen}), 401, "bad_assertion")
    at_provider(site, attacker)
    assert_problem(attacker.post(ASSERTION, json={"assertion": stolen}), 401, "bad_assertion")


def test_attackers_assertion_does_not_sign_a_victim_in(site: Site) -> None:
    victim, attacker = site.browser(), site.browser()
    planted = at_provider(site, attacker)
    at_provider(site, victim)

    assert_problem(victim.post(ASSERTION, json={"assertion": planted}), 401, "bad_assertion")


def test_assertion_is_accepted_once(site: Site) -> None:
    browser = site.browser()
    assertion = at_provider(site, browser)
    binding = browser.cookies[BINDING]
    bearer(browser.post(ASSERTION, json={"assertion": assertion}))

    replay = browser.post(ASSERTION, json={"assertion": assertion}, headers={"Cookie": f"{BINDING}={binding}"})

    assert_problem(replay, 401, "bad_assertion")


def test_response_of_the_provider_is_accepted_once(site: Site) -> None:
    browser = site.browser()
    parameters = site.provider.authorize(start(browser))
    flow = browser.cookies[FLOW]
    assert "assertion" in come_back(browser, parameters)

    assert come_back(browser, parameters)["error"] == "sign_in_expired"
    browser.cookies.set(FLOW, flow, domain="api.test")
    assert come_back(browser, parameters)["error"] == "sign_in_expired"


def test_assertion_expires_after_a_minute(site: Site) -> None:
    browser = site.browser()
    assertion, binding = at_provider(site, browser), browser.cookies[BINDING]
    with time_machine.travel(clock.now() + timedelta(seconds=61), tick=False):
        response = browser.post(ASSERTION, json={"assertion": assertion}, headers={"Cookie": f"{BINDING}={binding}"})

    assert_problem(response, 401, "bad_assertion")


def test_sign_in_that_takes_too_long_is_refused(site: Site) -> None:
    browser = site.browser()
    parameters, flow = site.provider.authorize(start(browser)), browser.cookies[FLOW]
    with time_machine.travel(clock.now() + timedelta(minutes=11), tick=False):
        browser.cookies.set(FLOW, flow, domain="api.test")
        assert come_back(browser, parameters)["error"] == "sign_in_expired"


def test_other_origins_cannot_use_an_assertion(site: Site) -> None:
    browser = site.browser()
    assertion = at_provider(site, browser)
    other = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}

    assert_problem(browser.post(ASSERTION, json={"assertion": assertion}, headers=other), 403, "cross_origin_session")
    without = {name: value for name, value in PAGE.items() if name != "X-We-Upload-Session"}
    browser.headers = httpx.Headers(without)
    assert_problem(browser.post(ASSERTION, json={"assertion": assertion}), 403, "session_header_missing")


MIX_UPS: dict[str, Callable[[dict[str, str], str], dict[str, str]]] = {
    "response_names_another_issuer": lambda sent, _: {**sent, "iss": "https://evil.example.com"},
    "response_lacks_the_issuer": lambda sent, _: {name: value for name, value in sent.items() if name != "iss"},
    "no_state": lambda sent, _: {name: value for name, value in sent.items() if name != "state"},
    "other_state": lambda sent, _: {**sent, "state": "x" * 43},
    "no_code": lambda sent, _: {name: value for name, value in sent.items() if name != "code"},
    "long_code": lambda sent, _: {**sent, "code": "x" * 5000},
    "unknown_code": lambda sent, _: {**sent, "code": "never-issued"},
}


@pytest.mark.parametrize("name", MIX_UPS)
def test_response_of_another_sign_in_is_refused(site: Site, name: str) -> None:
    browser = site.browser()
    parameters = site.provider.authorize(start(browser))

    assert come_back(browser, MIX_UPS[name](parameters, ""))["error"] == "sign_in_expired"


def test_response_at_the_callback_of_another_provider_is_refused(site: Site) -> None:
    browser = site.browser()
    parameters = site.provider.authorize(start(browser, "trusted"))

    assert come_back(browser, parameters, "other")["error"] == "sign_in_expired"


def test_repeated_parameter_is_refused(site: Site) -> None:
    browser = site.browser()
    sent = site.provider.authorize(start(browser))
    response = browser.get("/sign-in/trusted/callback", params=[*sent.items(), ("code", "another")])

    assert "error=sign_in_expired" in response.headers["location"]


def test_refusal_of_the_provider_is_reported_without_its_text(site: Site) -> None:
    browser = site.browser()
    sent = site.provider.authorize(start(browser))
    refusal = {"state": sent["state"], "iss": sent["iss"], "error": "access_denied", "error_description": "<script>"}

    assert come_back(browser, refusal) == {"purpose": "sign_in", "error": "sign_in_cancelled"}
    # An error that does not belong to a sign-in of this browser ends none.
    assert come_back(browser, {"error": "access_denied"})["error"] == "sign_in_expired"


BAD_TOKENS: dict[str, dict[str, Any]] = {
    "other_audience": {"aud": "another-client"},
    "other_issuer": {"iss": "https://evil.example.com"},
    "expired": {"exp": 1_700_000_000},
    "other_nonce": {"nonce": "another"},
    "other_access_token": {"at_hash": at_hash("another")},
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_id_token_that_is_not_for_this_sign_in_is_refused(site: Site, name: str) -> None:
    site.provider.claims |= BAD_TOKENS[name]
    browser = site.browser()

    assert come_back(browser, site.provider.authorize(start(browser)))["error"] == "bad_id_token"
    assert BINDING not in browser.cookies


def test_id_token_of_another_key_or_algorithm_is_refused(site: Site) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    for sign in (
        lambda claims: signed(claims, algorithm="HS256", key=secret, kid="r1"),
        lambda claims: signed(claims, algorithm="none", key="", kid="r1"),
        lambda claims: signed(claims, kid="unknown"),
    ):
        site.provider.sign = sign
        browser = site.browser()
        assert come_back(browser, site.provider.authorize(start(browser)))["error"] == "bad_id_token"


def test_new_key_of_the_provider_is_fetched_and_the_documents_are_cached(site: Site) -> None:
    site.provider.keys = [rsa_jwk(kid="old")]
    browser = site.browser()
    assert come_back(browser, site.provider.authorize(start(browser)))["error"] == "bad_id_token"
    site.provider.keys = [rsa_jwk()]
    site.provider.requests.clear()

    # An unknown key id causes another fetch, but not again and again.
    assert come_back(browser, site.provider.authorize(start(browser)))["error"] == "bad_id_token"
    assert site.provider.requests == ["/token_endpoint"]
    other = site.changed().browser()
    assert "assertion" in come_back(other, site.provider.authorize(start(other)))
    assert "assertion" in come_back(other, site.provider.authorize(start(other)))
    assert site.provider.requests.count("/jwks_uri") == 1
    assert site.provider.requests.count("/.well-known/openid-configuration") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"discovery_changes": {"issuer": "https://evil.example.com"}},
        {"discovery_changes": {"token_endpoint": "http://evil.example.com/token"}},
        {"discovery_changes": {"authorization_endpoint": "javascript:alert(1)"}},
        {"discovery_changes": {"jwks_uri": None}},
        {"padding": "x" * 70_000},
        {"status": 500},
        {"status": 302},
    ],
    ids=["other_issuer", "plain_http", "script", "no_keys", "oversized", "error", "redirect"],
)
def test_unusable_discovery_document_is_refused(site: Site, change: dict[str, Any]) -> None:
    for name, value in change.items():
        setattr(site.provider, name, value)
    response = site.browser().get("/sign-in/trusted")

    assert response.headers["location"] == "/sign-in#purpose=sign_in&error=provider_unavailable"
    assert "/elsewhere" not in site.provider.requests


def test_slow_provider_does_not_hold_the_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_http, "TIMEOUT_SECONDS", 0.2)
    site.provider.drip_seconds = 0.05
    begun_at = clock.now()
    response = site.browser().get("/sign-in/trusted")

    assert response.headers["location"] == "/sign-in#purpose=sign_in&error=provider_unavailable"
    assert clock.now() - begun_at < timedelta(seconds=2)


def test_wrong_client_secret_is_reported_as_an_outage(site: Site) -> None:
    browser = site.with_provider(client_secret=SecretStr("wrong")).browser()

    assert come_back(browser, site.provider.authorize(start(browser)))["error"] == "provider_unavailable"


# Accounts


def test_verified_address_of_a_trusted_provider_leads_to_the_account_and_tells_its_owner(site: Site, owner: Account) -> None:
    site.provider.claims["email"] = owner.email.upper()
    browser = site.browser()

    assert browser.get(ME, headers=bearer(sign_in(site, browser))).json()["id"] == str(owner.id)
    # The password and other sessions stay.
    assert browser.get(ME, headers=owner.headers).status_code == 200
    make_session(site.browser(), owner)
    with site.services.unit_of_work() as session:
        event = session.execute(
            select(AuditEvent).where(AuditEvent.subject == f"user:{owner.id}", AuditEvent.action == "identity.linked")
        ).scalar_one()
        assert json.loads(event.details or "") == {"by": "address", "provider": "trusted"}
        assert event.actor_id == owner.id


@pytest.mark.parametrize(
    ("provider", "claims"),
    [("other", {}), ("trusted", {"email_verified": False}), ("trusted", {"email_verified": None}), ("trusted", {"email": None})],
    ids=["untrusted", "unverified", "unknown", "no_address"],
)
def test_unproven_address_leads_to_no_account(site: Site, owner: Account, provider: str, claims: dict[str, Any]) -> None:
    site.provider.claims |= {"email": owner.email, **claims}

    assert_problem(sign_in(site, site.browser(), provider), 403, "no_account")
    assert site.identities(owner.email) == []


def test_takeover_removes_everything_that_a_squatter_set_up(site: Site, make_user: Callable[..., Account], client: httpx.Client) -> None:
    squatter, friend = make_user(is_verified=False), make_user()
    offered = open_other_ways(client, site.services, squatter, friend)
    attacker = site.browser()
    mallory = make_session(attacker, squatter)
    site.provider.claims = {"sub": f"mallory-{uuid4()}", "email": squatter.email}
    attacker.post(PROOF, json={"current_password": squatter.password}, headers=mallory)
    linked = attacker.post(IDENTITIES, json={"assertion": at_provider(site, attacker, "other", purpose="link")}, headers=mallory)
    assert linked.status_code == 201, linked.text
    key = attacker.post(f"{ME}/api-keys", json={"name": "n", "scopes": ["admin"]}, headers=mallory).json()["key"]
    with site.services.unit_of_work() as session:
        user = session.get_one(User, squatter.id)
        user.totp_secret, user.totp_confirmed_at = "planted", clock.now()
    mallorys = dict(site.provider.claims)
    site.provider.claims = {"sub": f"victim-{uuid4()}", "email": squatter.email}
    victim = site.browser()

    signed_in = bearer(sign_in(site, victim))

    account = victim.get(ME, headers=signed_in).json()
    assert (account["id"], account["email_verified"]) == (str(squatter.id), True)
    for credentials in (mallory, squatter.headers, {"Authorization": f"Bearer {key}"}):
        assert_unauthenticated(attacker.get(ME, headers=credentials))
    assert_problem(attacker.post(SESSION, json={"email": squatter.email, "password": squatter.password}), 401, "bad_credentials")
    assert [identity.provider for identity in site.identities(squatter.email)] == ["trusted"]
    assert not has_other_ways(site.services, squatter)
    assert_problem(client.post(f"{API}/transfers/{offered}/accept", headers=friend.headers), 409, "transfer_closed")
    site.provider.claims = mallorys
    assert_problem(sign_in(site, attacker, "other"), 403, "no_account")


def test_reader_of_a_mistyped_address_does_not_get_past_the_second_factor(site: Site, make_user: Callable[..., Account]) -> None:
    account = make_user(is_verified=False)
    with site.services.unit_of_work() as session:
        user = session.get_one(User, account.id)
        user.totp_secret, user.totp_confirmed_at, user.had_verified_email = "planted", clock.now(), True
    site.provider.claims = {"sub": f"reader-{uuid4()}", "email": account.email}

    assert_problem(sign_in(site, site.browser()), 403, "second_factor_required")


@pytest.mark.parametrize("way", ["mail", "mail_to_unproven", "operator", "superuser"])
def test_reset_of_the_password_removes_linked_identities(site: Site, make_user: Callable[..., Account], admin: Account, way: str) -> None:
    owner = make_user(is_verified=way != "mail_to_unproven")
    browser = site.browser()
    session_of_owner = make_session(browser, owner)
    browser.post(PROOF, json={"current_password": owner.password}, headers=session_of_owner)
    browser.post(IDENTITIES, json={"assertion": at_provider(site, browser, "other", purpose="link")}, headers=session_of_owner)
    assert len(site.identities(owner.email)) == 1
    new = "another good password"
    if way == "operator":
        with site.services.unit_of_work() as session:
            site.services.users(session).reset_password(owner.email, new)
    elif way == "superuser":
        change = {"password": new, "current_password": admin.password}
        assert browser.put(f"{API}/users/{owner.id}", json=change, headers=admin.headers).status_code == 200
    else:
        with site.services.unit_of_work() as session:
            recovery = replace(site.services, settings=site.settings.model_copy(update={"mail_from": "a@example.com"})).recovery(session)
            mail = recovery.start_password_reset(owner.email)
        assert mail is not None
        assert mail.link is not None
        with site.services.unit_of_work() as session:
            site.services.recovery(session).complete_password_reset(mail.link.partition("token=")[2], new)

    assert site.identities(owner.email) == []


def test_takeover_closes_what_is_opened_before_it_locks_the_account(
    site: Site, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    squatter = make_user(is_verified=False)
    close_all, closed = OpenAccessRepository.close_all, []

    def close_slowly(repository: OpenAccessRepository, user_id: UUID) -> dict[str, int]:
        closed.append(close_all(repository, user_id))
        if len(closed) == 1:
            # As a request of the squatter that commits now.
            other = create_database_engine(site.settings)
            with other.begin() as connection:
                columns = "(id, owner_id, url, encrypted_secret, created_at, updated_at)"
                values = "(gen_random_uuid(), :id, 'https://hooks.example.com', 'x', now(), now())"
                connection.execute(text(f"INSERT INTO webhook {columns} VALUES {values}"), {"id": user_id})  # noqa: S608  # constants
            other.dispose()
        return closed[-1]

    monkeypatch.setattr(OpenAccessRepository, "close_all", close_slowly)
    site.provider.claims = {"sub": f"victim-{uuid4()}", "email": squatter.email}

    assert bearer(sign_in(site, site.browser()))

    assert [each["webhooks"] for each in closed] == [0, 1]
    assert not has_other_ways(site.services, squatter)


def test_unproven_account_of_a_superuser_is_not_taken_over(site: Site, make_user: Callable[..., Account]) -> None:
    superuser = make_user(is_superuser=True, is_verified=False)
    site.provider.claims["email"] = superuser.email

    assert_problem(sign_in(site, site.browser()), 403, "no_account")


def test_disabled_account_stays_closed(site: Site) -> None:
    browser = site.browser()
    sign_in(site, browser)
    with site.services.unit_of_work() as session:
        user = session.execute(select(User).where(User.email == site.provider.claims["email"])).scalar_one()
        user.is_active = False

    assert_problem(sign_in(site, browser), 403, "no_account")


def test_closed_registration_creates_accounts_only_where_the_provider_may(site: Site) -> None:
    closed = site.changed(open_registration=False)
    assert_problem(sign_in(closed, closed.browser()), 403, "no_account")
    assert closed.user(site.provider.claims["email"]) is None
    allowed = closed.with_provider(creates_accounts=True, allowed_domains=("example.com",))
    bearer(sign_in(allowed, allowed.browser()))
    site.provider.claims = {"sub": "x", "email": f"{uuid4()}@example.com.evil.org"}
    assert_problem(sign_in(allowed, allowed.browser()), 403, "no_account")


def add_invitation(site: Site, inviter: Account, email: str, file_id: str | None = None) -> None:
    now = clock.now()
    with site.services.unit_of_work() as session:
        invitation = Invitation(
            id=uuid4(),
            inviter_id=inviter.id,
            email=email,
            file_id=None if file_id is None else UUID(file_id),
            role=None if file_id is None else "viewer",
            token_hash=uuid4().hex * 2,
            created_at=now,
            sent_at=now,
            expires_at=now + timedelta(days=1),
        )
        session.add(invitation)


def test_new_account_of_a_provider_has_what_the_address_was_invited_to(site: Site, owner: Account, client: httpx.Client) -> None:
    file = make_file(client, owner)
    add_invitation(site, owner, site.provider.claims["email"], file["id"])
    browser = site.browser()

    credentials = bearer(sign_in(site, browser))

    assert browser.get(f"{API}/files/{file['id']}", headers=credentials).status_code == 200


@pytest.mark.parametrize("has_expired", [False, True])
def test_invitation_admits_an_account_of_a_provider_where_registration_is_closed(site: Site, admin: Account, has_expired: bool) -> None:
    closed, email = site.changed(open_registration=False), site.provider.claims["email"]
    add_invitation(site, admin, email)
    if has_expired:
        with site.services.unit_of_work() as session:
            session.execute(update(Invitation).where(Invitation.email == email).values(expires_at=clock.now()))
        assert_problem(sign_in(closed, closed.browser()), 403, "no_account")
        return

    bearer(sign_in(closed, closed.browser()))

    with site.services.unit_of_work() as session:
        assert session.execute(select(Invitation).where(Invitation.email == email)).all() == []


@pytest.mark.parametrize("by_users", [False, True])
def test_invitation_of_a_user_admits_an_account_only_where_users_may_invite(
    site: Site, owner: Account, client: httpx.Client, by_users: bool
) -> None:
    closed = site.changed(open_registration=False, invitations_by_users=by_users)
    add_invitation(site, owner, site.provider.claims["email"], make_file(client, owner)["id"])

    assert sign_in(closed, closed.browser()).status_code == (200 if by_users else 403)


def test_provider_with_another_issuer_does_not_inherit_the_identities(site: Site, services: Services) -> None:
    sign_in(site, site.browser())
    with services.unit_of_work() as session:
        (identity,) = session.execute(select(UserIdentity).where(UserIdentity.subject == site.provider.claims["sub"])).scalars()
        identity.issuer = "https://the-issuer-before.example.com"
    site.provider.claims["email_verified"] = False

    assert_problem(sign_in(site, site.browser()), 403, "no_account")


def test_second_factor_is_demanded_and_has_more_time(site: Site, owner: Account, client: httpx.Client) -> None:
    secret, recovery_codes = set_up(client, owner)
    site.provider.claims["email"] = owner.email
    browser = site.browser()
    assertion, binding = at_provider(site, browser), browser.cookies[BINDING]
    cookie = {"Cookie": f"{BINDING}={binding}"}
    assert_problem(browser.post(ASSERTION, json={"assertion": assertion}), 403, "second_factor_required")
    assert_problem(browser.post(ASSERTION, json={"assertion": assertion, "otp": "000000"}), 401, "bad_second_factor")
    assert site.identities(owner.email) == []

    with time_machine.travel(clock.now() + timedelta(minutes=4), tick=False):
        code = totp_code(secret, current_step())
        signed_in = browser.post(ASSERTION, json={"assertion": assertion, "otp": code}, headers=cookie)
        assert signed_in.status_code == 200, signed_in.text
        again = browser.post(ASSERTION, json={"assertion": assertion, "otp": recovery_codes[0]}, headers=cookie)
        assert_problem(again, 401, "bad_assertion")
    other = site.browser()
    late, binding = at_provider(site, other), other.cookies[BINDING]
    with time_machine.travel(clock.now() + timedelta(minutes=5, seconds=1), tick=False):
        response = other.post(ASSERTION, json={"assertion": late, "otp": recovery_codes[1]}, headers={"Cookie": f"{BINDING}={binding}"})
        assert_problem(response, 401, "bad_assertion")


def test_sign_in_cancels_the_deletion_of_the_account_only_if_asked_to(site: Site) -> None:
    browser = site.browser()
    credentials = bearer(sign_in(site, browser))
    prove_at_provider(site, browser, credentials)
    assert browser.request("DELETE", ME, json={}, headers=credentials).status_code == 202

    assert_problem(sign_in(site, browser), 403, "account_deletion_pending")
    bearer(sign_in(site, browser, keep_account=True))


def change_before(monkeypatch: pytest.MonkeyPatch, method: tuple[type, str], site: Site, user_id: UUID, **columns: Any) -> None:
    """Change columns of the account in another transaction, just before the method runs."""
    original = getattr(*method)

    def changed(*arguments: Any, **options: Any) -> Any:
        # The request occupies the only connection of the site.
        engine = create_database_engine(site.settings)
        with engine.begin() as connection:
            connection.execute(update(User).where(User.id == user_id).values(**columns))
        engine.dispose()
        return original(*arguments, **options)

    monkeypatch.setattr(*method, changed)


@pytest.mark.parametrize(
    ("columns", "status", "code"),
    [
        ({"email": "moved-away@example.com"}, 401, "bad_assertion"),
        ({"token_epoch": User.token_epoch + 1}, 401, "bad_assertion"),
        ({"is_superuser": True}, 403, "no_account"),
        ({"is_active": False}, 403, "no_account"),
    ],
    ids=["address", "sessions", "superuser", "disabled"],
)
def test_account_that_changes_meanwhile_is_not_taken_over(
    site: Site, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any], status: int, code: str
) -> None:
    squatter = make_user(is_verified=False)
    if "email" in columns:
        columns = {"email": f"{uuid4()}@example.com"}
    site.provider.claims["email"] = squatter.email
    change_before(monkeypatch, (OpenAccessRepository, "close_all"), site, squatter.id, **columns)

    assert_problem(sign_in(site, site.browser()), status, code)

    with site.services.unit_of_work() as session:
        user = session.get_one(User, squatter.id)
        assert (user.email_verified_at, user.hashed_password is None) == (None, False)


@pytest.mark.parametrize("column", ["email", "token_epoch"])
def test_account_that_changes_meanwhile_is_not_linked(site: Site, owner: Account, monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    site.provider.claims["email"] = owner.email
    values = {"email": f"{uuid4()}@example.com", "token_epoch": User.token_epoch + 1}
    change_before(monkeypatch, (IdentityRepository, "use_assertion"), site, owner.id, **{column: values[column]})

    assert_problem(sign_in(site, site.browser()), 401, "bad_assertion")
    with site.services.unit_of_work() as session:
        assert session.execute(select(UserIdentity).where(UserIdentity.user_id == owner.id)).first() is None


# Linking, unlinking and proofs


def test_change_of_the_own_password_keeps_linked_identities(site: Site, owner: Account) -> None:
    browser = site.browser()
    site.provider.claims["email"] = owner.email
    credentials = bearer(sign_in(site, browser))
    change = {"password": "another good password", "current_password": owner.password}
    assert browser.put(ME, json=change, headers=credentials).status_code == 200

    assert len(site.identities(owner.email)) == 1


def test_ended_session_cannot_link_an_identity(site: Site, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = site.browser()
    credentials = make_session(browser, owner)
    assertion = at_provider(site, browser, "other", purpose="link")
    browser.post(PROOF, json={"current_password": owner.password}, headers=credentials)
    change_before(monkeypatch, (IdentityRepository, "use_assertion"), site, owner.id, token_epoch=User.token_epoch + 1)

    assert_unauthenticated(browser.post(IDENTITIES, json={"assertion": assertion}, headers=credentials))
    assert site.identities(owner.email) == []


def test_user_links_and_unlinks_an_identity_with_a_fresh_proof(site: Site, owner: Account) -> None:
    browser = site.browser()
    credentials = make_session(browser, owner)
    assertion = at_provider(site, browser, "other", purpose="link")
    assert_problem(browser.post(IDENTITIES, json={"assertion": assertion}, headers=credentials), 403, "fresh_sign_in_required")
    assert_problem(browser.post(PROOF, json={"current_password": "wrong"}, headers=credentials), 403, "current_password_required")
    assert browser.post(PROOF, json={"current_password": owner.password}, headers=credentials).status_code == 204

    linked = browser.post(IDENTITIES, json={"assertion": assertion}, headers=credentials)

    assert linked.status_code == 201, linked.text
    assert (linked.json()["provider"], linked.json()["email"]) == ("other", site.provider.claims["email"])
    assert browser.get(ME, headers=bearer(sign_in(site, site.browser(), "other"))).json()["id"] == str(owner.id)
    identity = f"{IDENTITIES}/{linked.json()['id']}"
    assert browser.delete(identity, headers=credentials).status_code == 204
    assert_problem(browser.delete(identity, headers=credentials), 404, "identity_not_found")
    assert_problem(sign_in(site, site.browser(), "other"), 403, "no_account")


def test_identity_of_another_account_cannot_be_linked_or_unlinked(site: Site, owner: Account) -> None:
    holder = site.browser()
    holders = holder.get(IDENTITIES, headers=bearer(sign_in(site, holder))).json()["identities"]
    browser = site.browser()
    credentials = make_session(browser, owner)
    browser.post(PROOF, json={"current_password": owner.password}, headers=credentials)

    taken = browser.post(IDENTITIES, json={"assertion": at_provider(site, browser, purpose="link")}, headers=credentials)

    assert_problem(taken, 409, "identity_taken")
    assert_problem(browser.delete(f"{IDENTITIES}/{holders[0]['id']}", headers=credentials), 404, "identity_not_found")


def test_assertion_serves_only_the_purpose_it_was_started_for(site: Site, owner: Account) -> None:
    browser = site.browser()
    credentials = make_session(browser, owner)
    browser.post(PROOF, json={"current_password": owner.password}, headers=credentials)
    for purpose, path in (("sign_in", IDENTITIES), ("sign_in", PROOF), ("link", ASSERTION), ("link", PROOF), ("proof", IDENTITIES)):
        site.provider.claims["auth_time"] = int(clock.now().timestamp())
        assertion = at_provider(site, browser, "other", purpose=purpose)
        assert_problem(browser.post(path, json={"assertion": assertion}, headers=credentials), 401, "bad_assertion")


def test_only_way_to_sign_in_cannot_be_unlinked(site: Site) -> None:
    browser = site.browser()
    credentials = bearer(sign_in(site, browser))
    prove_at_provider(site, browser, credentials)
    (identity,) = browser.get(IDENTITIES, headers=credentials).json()["identities"]

    assert_problem(browser.delete(f"{IDENTITIES}/{identity['id']}", headers=credentials), 409, "last_sign_in_method")
    assert len(browser.get(IDENTITIES, headers=credentials).json()["identities"]) == 1


def prove_at_provider(site: Site, browser: httpx.Client, credentials: dict[str, str], **members: Any) -> httpx.Response:
    """Authenticate again at the provider, and prove that to the API."""
    site.provider.claims["auth_time"] = int(clock.now().timestamp())
    assertion = at_provider(site, browser, purpose="proof")
    del site.provider.claims["auth_time"]
    return browser.post(PROOF, json={"assertion": assertion, **members}, headers=credentials)


def test_account_without_a_password_proves_itself_by_a_new_sign_in(site: Site) -> None:
    browser = site.browser()
    credentials = bearer(sign_in(site, browser))
    assert_problem(browser.request("DELETE", ME, json={}, headers=credentials), 403, "fresh_sign_in_required")
    assert_problem(browser.post(PROOF, json={}, headers=credentials), 403, "current_password_required")
    request = dict(parse_qsl(urlsplit(start(browser, purpose="proof")).query))
    assert (request["prompt"], request["max_age"]) == ("login", "0")

    assert prove_at_provider(site, browser, credentials).status_code == 204

    # The proof is of this session only, and does not renew itself.
    other = site.browser()
    elsewhere = bearer(sign_in(site, other))
    assert_problem(other.request("DELETE", ME, json={}, headers=elsewhere), 403, "fresh_sign_in_required")
    assert_problem(browser.post(PROOF, json={}, headers=credentials), 403, "current_password_required")
    with time_machine.travel(clock.now() + timedelta(minutes=5, seconds=1), tick=False):
        assert_problem(browser.request("DELETE", ME, json={}, headers=credentials), 403, "fresh_sign_in_required")
    assert browser.patch(ME, json={"password": "a sentence as password"}, headers=credentials).status_code == 200
    body = {"email": site.provider.claims["email"], "password": "a sentence as password"}
    assert site.browser().post(SESSION, json=body).status_code == 200


def test_old_authentication_at_the_provider_is_no_proof(site: Site) -> None:
    browser = site.browser()
    sign_in(site, browser)
    for auth_time in (None, int(clock.now().timestamp()) - 3600):
        site.provider.claims["auth_time"] = auth_time
        back = come_back(browser, site.provider.authorize(start(browser, purpose="proof")))
        assert back == {"purpose": "proof", "error": "bad_id_token"}


def test_proof_of_another_person_is_refused(site: Site, owner: Account) -> None:
    browser = site.browser()
    credentials = make_session(browser, owner)

    assert_problem(prove_at_provider(site, browser, credentials), 401, "bad_assertion")


def test_api_key_can_neither_prove_nor_link(site: Site, owner: Account, make_key: Callable[..., Account]) -> None:
    key = make_key(owner, "admin").headers
    browser = site.browser()

    assert_problem(browser.post(PROOF, json={"current_password": owner.password}, headers=key), 403, "permission_denied")
    assertion = at_provider(site, browser, "other", purpose="link")
    assert_problem(browser.post(IDENTITIES, json={"assertion": assertion}, headers=key), 403, "fresh_sign_in_required")


# Closed password sign-in


def test_closed_password_sign_in_refuses_every_use_of_a_password(site: Site, owner: Account, tmp_path: Path) -> None:
    closed = site.changed(password_sign_in=False, mail_folder=str(tmp_path))
    browser = closed.browser()
    body = {"email": owner.email, "password": owner.password}
    refused = [
        browser.post(SESSION, json=body),
        *(browser.post(f"{prefix}/login/token", data={"username": owner.email, "password": owner.password}) for prefix in (API, "")),
        browser.post(f"{API}/login/forgot-password", json={"email": owner.email}),
        browser.post(f"{API}/login/reset-password", json={"token": "x", "password": "a sentence as password"}),
        browser.post(f"{API}/users", json={"email": f"{uuid4()}@example.com", "password": "a sentence as password"}),
        browser.patch(ME, json={"password": "a sentence as password", "current_password": owner.password}, headers=owner.headers),
    ]

    for response in refused:
        assert_problem(response, 403, "password_sign_in_closed")
    assert browser.get(f"{API}/config").json()["password_sign_in"] is False
    # Sessions go on, and the providers still work.
    assert browser.get(ME, headers=owner.headers).status_code == 200
    bearer(sign_in(closed, closed.browser()))


# Sign-out at the provider


def sign_out_of(site: Site, **headers: str) -> str:
    """Return where the sign-out at the first provider leads."""
    response = site.browser().get("/sign-in/trusted", params={"purpose": "sign_out"}, headers=headers)
    assert response.status_code == 303
    assert response.headers.get_list("set-cookie") == []
    return str(response.headers["location"])


def test_sign_out_leads_to_the_provider_and_back_to_the_sign_in_page(site: Site) -> None:
    endpoint = f"{site.provider.issuer}/end?tenant=1"
    site.provider.discovery_changes = {"end_session_endpoint": endpoint}

    location = sign_out_of(site.with_provider(offers_sign_out=True), **{"X-Forwarded-Host": "evil.example"})

    assert location.startswith(f"{endpoint}&")
    assert dict(parse_qsl(urlsplit(location).query)) == {
        "tenant": "1",
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": f"{ORIGIN}/sign-in",
    }


@pytest.mark.parametrize("reason", ["not in the settings", "no endpoint", "not https", "another site"])
def test_sign_out_that_is_not_possible_returns_to_the_app(site: Site, reason: str) -> None:
    if reason != "no endpoint":
        host = "http://provider.example" if reason == "not https" else site.provider.issuer
        site.provider.discovery_changes = {"end_session_endpoint": f"{host}/end"}
    site = site.with_provider(offers_sign_out=reason != "not in the settings")
    headers = {"Sec-Fetch-Site": "cross-site"} if reason == "another site" else {}

    location = sign_out_of(site, **headers)

    error = {"not https": "&error=provider_unavailable", "another site": ""}.get(reason, "&error=no_provider_sign_out")
    assert location == f"/sign-in#purpose=sign_in{error}"


# Share links for users


@pytest.fixture
def shared(client: httpx.Client, owner: Account) -> Callable[..., str]:
    """A function that shares a file with named users, and returns the address of the link."""
    file_id = make_file(client, owner, b"plan", filename="plan.txt")["id"]
    return lambda *recipients, **options: str(make_share(client, owner, file_id, audience="named", recipients=recipients, **options)["url"])


def person_of(site: Site) -> str:
    """Create an account without a password for the identity that the provider currently states; return its address."""
    assert sign_in(site, site.browser()).status_code == 200
    return str(site.provider.claims["email"])


def visitor_of(site: Site) -> httpx.Client:
    """Return a browser that opens pages."""
    browser = site.browser()
    browser.headers.update(BROWSER)
    return browser


def sign_in_at(site: Site, visitor: httpx.Client, url: str, provider: str = "trusted") -> None:
    """Follow the button of the page to the provider, and come back."""
    (button,) = [link["href"] for link in Page(visitor.get(url)).all("a") if f"/sign-in/{provider}?" in str(link["href"])]
    location = visitor.get(str(button)).headers["location"]
    response = visitor.get(
        f"/sign-in/{provider}/callback", params=site.provider.authorize(location), headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert (response.status_code, response.headers["location"], response.headers["cache-control"]) == (303, url, "no-store")
    (cookie,) = (cookie for cookie in response.headers.get_list("set-cookie") if cookie.startswith("__Host-we-upload-link="))
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=300"))


def go_on(visitor: httpx.Client, url: str, **fields: str) -> httpx.Response:
    """Send the form of the page after the sign-in at the provider."""
    return visitor.post(url, data={"sign_in": "provider", **fields})


def go_on_with(site: Site, url: str, cookie: str) -> httpx.Response:
    """Send the form of the page with this cookie."""
    return visitor_of(site).post(url, data={"sign_in": "provider"}, headers={"Cookie": f"__Host-we-upload-link={cookie}"})


def test_person_without_a_password_opens_a_link_for_named_users(site: Site, shared: Callable[..., str]) -> None:
    url, visitor = shared(person_of(site)), visitor_of(site)

    sign_in_at(site, visitor, url)
    page = Page(visitor.get(url))
    stolen = visitor.cookies["__Host-we-upload-link"]
    opened = go_on(visitor, url)

    assert page.all("input") == [{"type": "hidden", "name": "sign_in", "value": "provider"}]
    assert (opened.status_code, opened.headers["location"]) == (303, url)
    assert "plan.txt" in visitor.get(url).text
    # A sign-in opens one link, once, and is no session.
    assert "__Host-we-upload-link" not in visitor.cookies
    refused = go_on_with(site, url, stolen)
    assert refused.status_code == 401
    assert "used before" in refused.text
    assert 'we-upload-link=""; HttpOnly; Max-Age=0' in refused.headers["set-cookie"]
    assert visitor.post(f"{SESSION}/refresh").status_code == 401


def test_confirmed_address_of_a_trusted_provider_opens_a_link_without_linking(
    site: Site, shared: Callable[..., str], make_user: Callable[..., Account]
) -> None:
    friend = make_user()
    site.provider.claims["email"] = friend.email
    url, visitor = shared(friend.email), visitor_of(site)
    sign_in_at(site, visitor, url)

    assert go_on(visitor, url).status_code == 303

    assert "plan.txt" in visitor.get(url).text
    assert site.identities(friend.email) == []


@pytest.mark.parametrize("reason", ["stranger", "unconfirmed", "untrusted", "disabled"])
def test_sign_in_without_a_usable_account_opens_no_link(
    site: Site, shared: Callable[..., str], make_user: Callable[..., Account], reason: str
) -> None:
    friend = make_user(is_verified=reason != "unconfirmed")
    if reason != "stranger":
        site.provider.claims["email"] = friend.email
    if reason == "disabled":
        with site.services.unit_of_work() as session:
            session.execute(update(User).where(User.id == friend.id).values(is_active=False))
    url, visitor = shared(make_user().email), visitor_of(site)
    provider = "other" if reason == "untrusted" else "trusted"
    sign_in_at(site, visitor, url, provider)

    refused = go_on(visitor, url)

    assert refused.status_code == 403
    assert "No account belongs to this sign-in." in refused.text
    # The page offers another sign-in.
    assert "__Host-we-upload-link" not in visitor.cookies
    assert len([link for link in Page(refused).all("a") if "purpose=open_link" in str(link["href"])]) == 2
    assert reason == "stranger" or site.identities(friend.email) == []
    assert site.user(str(site.provider.claims["email"])) is None or reason != "stranger"


def test_link_demands_the_second_factor_after_the_sign_in_at_a_provider(
    site: Site, shared: Callable[..., str], owner: Account, client: httpx.Client
) -> None:
    _, (code, *_) = set_up(client, owner)
    site.provider.claims["email"] = owner.email
    url, visitor = shared(owner.email), visitor_of(site)
    sign_in_at(site, visitor, url)

    asked = go_on(visitor, url)
    wrong = go_on(visitor, url, otp="000000")

    assert (asked.status_code, wrong.status_code) == (403, 401)
    for page in (asked, wrong):
        assert [field["name"] for field in Page(page).all("input")] == ["sign_in", "otp"]
    assert go_on(visitor, url, otp=code).status_code == 303


def test_sign_ins_of_other_purposes_open_no_link(site: Site, shared: Callable[..., str]) -> None:
    url, browser, visitor = shared(person_of(site)), site.browser(), visitor_of(site)
    sign_in_at(site, visitor, url)
    for_a_session = at_provider(site, browser)
    for_the_link, _, binding = visitor.cookies["__Host-we-upload-link"].partition("~")

    refused = [
        go_on_with(site, url, f"{for_a_session}~{browser.cookies[BINDING]}"),
        go_on_with(site, url, f"{for_the_link}~{browser.cookies[BINDING]}"),
        *(go_on_with(site, url, cookie) for cookie in (for_the_link, f"{for_the_link}~", "~", "x")),
    ]

    assert [response.status_code for response in refused] == [401] * len(refused)
    session = site.browser().post(ASSERTION, json={"assertion": for_the_link}, headers={"Cookie": f"{BINDING}={binding}"})
    assert_problem(session, 401, "bad_assertion")
    assert go_on(visitor, url).status_code == 303


def test_page_of_another_site_cannot_open_a_link_with_the_sign_in(site: Site, shared: Callable[..., str]) -> None:
    url, visitor = shared(person_of(site)), visitor_of(site)
    sign_in_at(site, visitor, url)

    foreign = visitor.post(url, data={"sign_in": "provider"}, headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})

    assert foreign.status_code == 403
    assert "plan.txt" not in visitor.get(url).text


@pytest.mark.parametrize("link", ["//evil.example", "../docs", "a/b", "a?b", "", "x" * 65, "%0d%0aSet-Cookie:x"])
def test_sign_in_for_a_link_returns_to_a_link_or_to_the_app(site: Site, link: str) -> None:
    visitor = visitor_of(site)
    location = visitor.get("/sign-in/trusted", params={"purpose": "open_link", "link": link}).headers["location"]

    response = visitor.get("/sign-in/trusted/callback", params=site.provider.authorize(location))

    assert response.headers["location"] == "/sign-in#purpose=open_link"


def test_page_shows_why_the_browser_comes_back_without_a_sign_in(site: Site, shared: Callable[..., str]) -> None:
    url, visitor = shared(person_of(site)), visitor_of(site)
    location = visitor.get("/sign-in/trusted", params={"purpose": "open_link", "link": url.rpartition("/")[2]}).headers["location"]
    answer = {"state": dict(parse_qsl(urlsplit(location).query))["state"], "iss": site.provider.issuer, "error": "access_denied"}

    response = visitor.get("/sign-in/trusted/callback", params=answer)

    assert response.headers["location"] == f"{url}?sign_in=sign_in_cancelled"
    assert "The sign-in at the provider was cancelled" in visitor.get(response.headers["location"]).text
    assert "alert" not in "".join(Page(visitor.get(f"{url}?sign_in=<b>call this number</b>")).texts)
    assert "call this number" not in visitor.get(f"{url}?sign_in=<b>call this number</b>").text


def test_link_offers_only_providers_where_passwords_are_closed(site: Site, shared: Callable[..., str]) -> None:
    url = shared(person_of(site))
    closed = site.changed(password_sign_in=False)

    page = Page(visitor_of(closed).get(url))

    assert page.all("input") == []
    assert [link["href"] for link in page.all("a")] == [
        f"/sign-in/{provider}?purpose=open_link&link={url.rpartition('/')[2]}" for provider in ("trusted", "other")
    ]
    visitor = visitor_of(closed)
    sign_in_at(closed, visitor, url)
    assert go_on(visitor, url).status_code == 303


def test_closed_link_refuses_the_sign_in_like_an_unknown_one_and_does_not_use_it_up(
    site: Site, owner: Account, shared: Callable[..., str], client: httpx.Client
) -> None:
    person = person_of(site)
    url, revoked, visitor = shared(person), shared(person), visitor_of(site)
    sign_in_at(site, visitor, url)
    for share in client.get(f"{API}/shares", headers=owner.headers).json():
        if share["url"] == revoked:
            client.delete(f"{API}/shares/{share['id']}", headers=owner.headers).raise_for_status()

    refused = [go_on(visitor, closed) for closed in (revoked, "/s/0123456789abcdefghijkl")]

    assert [response.status_code for response in refused] == [404, 404]
    assert refused[0].text == refused[1].text
    assert go_on(visitor, url).status_code == 303


def test_sign_in_for_a_link_works_below_a_stage_prefix(site: Site, shared: Callable[..., str]) -> None:
    url, visitor = shared(person_of(site)), site.browser(make_event=payload_v1)
    visitor.headers.update(BROWSER)
    (button,) = [link["href"] for link in Page(visitor.get(url)).all("a") if "/sign-in/trusted?" in str(link["href"])]

    location = visitor.get(str(button).removeprefix("/dev")).headers["location"]
    response = visitor.get("/sign-in/trusted/callback", params=site.provider.authorize(location))

    assert str(button).startswith("/dev/sign-in/trusted?")
    assert response.headers["location"] == f"/dev{url}"
