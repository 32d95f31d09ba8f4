"""Sign-in with a real OpenID provider in a real browser: deep link, linking and unlinking, an account without a password."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from infra.local import web_app
from infra.local.object_store import ObjectStoreServer
from lambda_app.core import clock
from lambda_app.core.identity.providers import IdentityProvider
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import Invitation
from tests.e2e.browser.steps import Results, Steps, console_messages, failures, sign_in
from tests.support.accounts import make_account, make_file
from tests.support.http_server import serving
from tests.support.shares import make_share

PROVIDER = Path(__file__).parent / "openid"
INSPECT: Steps = [{"axe": True}]
EXPECTED = ("status of 403", "status of 404", "ERR_NAME_NOT_RESOLVED")
"""Parts of messages that the console shows in these journeys."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def site(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[tuple[str, Services]]:
    """The API with the provider. The provider is at another host name, so that its pages are of another site."""
    port = free_port()
    provider = IdentityProvider(
        id="test",
        name="Test login",
        issuer=f"http://localhost:{port}",
        client_id="we-upload",
        client_secret=SecretStr("client-secret-of-the-tests"),
        trusted_email=True,
        offers_sign_out=True,
    )
    changes: dict[str, Any] = {
        "identity_providers": (provider,),
        "identity_key": SecretStr("i" * 20 + "0123456789abcdef"),
        "web_app_folder": web_app.build(),
    }
    with serving(settings, s3_server, **changes) as (url, services):
        command: list[str | Path] = [
            Path(sys.executable).parent / "node",
            PROVIDER / "provider.mjs",
            str(port),
            f"{url}/sign-in/test/callback",
            f"{url}/sign-in",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            assert any(line.strip() == "ready" for line in process.stdout)
            yield url, services
            process.terminate()


@pytest.fixture(scope="module")
def results(site: tuple[str, Services], visit: Callable[[dict[str, object]], Results]) -> Results:
    """The results of all jobs, run in one browser."""
    url, services = site
    newcomer = f"new-{uuid4()}@example.com"
    member, sharer = make_account(services), make_account(services)
    invitation, now = new_secret(), clock.now()
    times = {"created_at": now, "sent_at": now, "expires_at": now + timedelta(days=1)}
    inviter = make_account(services, is_superuser=True).id
    with services.unit_of_work() as session:
        invited = f"invited-{uuid4()}@example.com"
        session.add(Invitation(id=uuid4(), inviter_id=inviter, email=invited, token_hash=hash_secret(invitation), **times))
    with httpx.Client(base_url=url, trust_env=False) as client:
        link = make_share(client, sharer, make_file(client, sharer, filename="plan.txt")["id"], audience="signed_in")["url"]
    with_provider: Steps = [{"see": "Continue with Test login"}, *INSPECT, {"follow": "Continue with Test login"}]
    prove: Steps = [
        {"click": "Confirm with Test login", "role": "link", "within": "dialog"},
        {"provider": newcomer},
        {"see": "Confirmed. You can now change"},
    ]
    without_password: Steps = [
        *({"open": f"{url}/links"}, *with_provider, {"provider": newcomer}),
        # The deep link, and the session after a reload.
        *({"see": "Links", "role": "heading"}, {"reload": True}, {"see": "Links", "role": "heading"}),
        # The page of the link has no script, and the provider still knows the person.
        *({"open": link}, {"see": "This link is for users with an account."}, *INSPECT, {"follow": "Continue with Test login"}),
        *({"see": "You have signed in."}, *INSPECT, {"press": "Open the link"}, {"see": "plan.txt"}),
        *({"open": f"{url}/settings"}, {"see": "Sign-in providers", "role": "heading"}, {"see": "linked on"}, *INSPECT),
        *({"click": "Delete account"}, {"see": "Your account has no password."}, *INSPECT, *prove),
        *({"click": "Delete account"}, {"click": "Delete account", "within": "dialog"}, {"see": "Your account is closed"}),
        *(*with_provider, {"see": "Keep my account"}, *INSPECT, {"check": "Keep my account"}),
        *({"click": "Sign in", "within": "dialog"}, {"see": "Drop your first files here"}),
        # After the sign-out at the provider too, the provider asks who the person is.
        *(
            {"click": f"Account: {newcomer}"},
            {"click": "Sign out", "role": "menuitem"},
            {"see": "You may still be signed in at Test login."},
        ),
        *(*INSPECT, {"follow": "Sign out there too"}, {"press": "Yes, sign me out"}, {"see": "Sign in to We-Upload"}),
        *({"gone": "You may still be signed in"}, {"follow": "Continue with Test login"}, {"provider": newcomer}),
        {"see": "Drop your first files here"},
    ]
    links: Steps = [
        *(*sign_in(member.email, member.password), {"see": "Drop your first files here"}, {"open": f"{url}/settings"}),
        *({"click": "Link Test login"}, {"fill": "Current password", "within": "dialog", "value": member.password}, *INSPECT),
        *({"click": "Continue with Test login", "within": "dialog"}, {"provider": f"unverified-{uuid4()}@example.com"}),
        *({"see": "Test login is linked"}, {"see": "linked on"}, {"click": "Unlink Test login"}),
        *({"fill": "Current password", "within": "dialog", "value": member.password}, {"click": "Unlink", "within": "dialog"}),
        *({"gone": "linked on"}, {"click": member.email}, {"click": "Sign out", "role": "menuitem"}),
        *(*with_provider, {"see": "There is no account for this sign-in."}, *INSPECT),
        *({"click": "Create an account", "role": "link"}, {"see": "Continue with Test login"}, {"see": "Have an account?"}, *INSPECT),
        *({"open": f"{url}/invitation#token={invitation}"}, {"see": "Or sign in with a provider"}, {"see": "Continue with Test login"}),
        *INSPECT,
    ]
    jobs: dict[str, object] = {
        "without password, phone, dark": {"url": f"{url}/", "width": 320, "height": 700, "dark": True, "steps": without_password},
        "links": {"url": f"{url}/", "steps": links},
    }
    return visit(jobs)


def test_people_sign_in_link_and_prove_themselves_at_a_provider(results: Results) -> None:
    assert failures(results) == {}


def test_screens_have_no_accessibility_violations(results: Results) -> None:
    assert [page["violations"] for result in results.values() for page in result["axe"] if page["violations"]] == []


def test_pages_log_nothing_but_the_refused_requests(results: Results) -> None:
    unexpected = {
        # Refused sign-ins, the export that was not requested, and fonts that the provider's page loads from elsewhere.
        name: [message for message in messages if not any(part in message for part in EXPECTED)]
        for name, messages in console_messages(results).items()
    }
    assert {name: messages for name, messages in unexpected.items() if messages} == {}


def test_assertions_and_codes_leave_no_trace(results: Results) -> None:
    for result in results.values():
        assert not [referrer for referrer in result["referrers"] if "assertion" in referrer or "code=" in referrer]
        assert not [request for request in result["requests"] if "assertion=" in request.partition("#")[0]]
