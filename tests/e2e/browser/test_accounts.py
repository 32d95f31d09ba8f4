"""Accounts in a real browser: registration by mail, handing files over, a long sleep, two tabs, a lost answer, sign-out everywhere."""

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import text as sql

from infra.local import web_app
from infra.local.object_store import ObjectStoreServer
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import User
from tests.e2e.browser.steps import Results, Steps, console_messages, failures, sign_in
from tests.support.accounts import Account, make_account, make_file
from tests.support.http_server import serving

NEWCOMER, NEW_PASSWORD = "newcomer-in-a-browser@example.com", "a sentence is a good password"
PLAN = b"the plan of the feast"
TITLE = "Photos of the feast"
INSPECT: Steps = [{"axe": True}]
FILES: Steps = [{"see": "Files", "role": "heading"}]
LINKS: Steps = [{"key": "g"}, {"key": "l"}, {"see": "Links", "role": "heading"}]
REFRESH = "/api/v1/session/refresh$"


class Stage:
    """The API, and an address at which the browser's steps change the world: `url` with the name of an act."""

    def __init__(self, url: str, services: Services, mail_folder: Path) -> None:
        self.api = url
        self.services = services
        self.client = httpx.Client(base_url=url, trust_env=False)
        self.mail_folder = mail_folder
        self.slept = timedelta()
        self.acts: dict[str, Callable[[], str]] = {
            "sleep-a-week": lambda: self.sleep(7),
            # Together with a week less than the 14 days of a session, wherever the refresh between the two falls.
            "sleep-six-days": lambda: self.sleep(6),
            "sleep-too-long": lambda: self.sleep(15),
            "mailed-link": self.mailed_link,
        }
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def run(self) -> None:
        """Serve the acts."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self.client.close()

    def act(self, name: str) -> dict[str, Any]:
        """Return the step that performs an act."""
        return {"call": f"{self.url}/{name}", "method": "POST"}

    def sleep(self, days: int) -> str:
        """Let time pass for the server: access tokens expire, and sessions grow old."""
        self.slept += timedelta(days=days)
        return ""

    def mailed_link(self) -> str:
        """Return the link in the newest mail to the newcomer."""
        paths = sorted(self.mail_folder.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        mails = [message_from_bytes(path.read_bytes(), policy=default) for path in paths]
        (mail,) = [mail for mail in mails if mail["To"] == NEWCOMER]
        found = re.search(r"/verify-email#token=\S+", mail.get_body(("plain",)).get_content())  # type: ignore[union-attr]
        assert found is not None
        return f"{self.api}{found[0]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        acts = self.acts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = acts[self.path.removeprefix("/")]().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture(scope="module")
def stage(settings: Settings, s3_server: ObjectStoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An API that demands confirmed addresses and sends mail."""
    folder = tmp_path_factory.mktemp("mail")
    changes: dict[str, Any] = {"mail_folder": str(folder), "require_verified_email": True, "web_app_folder": web_app.build()}
    with serving(settings, s3_server, **changes) as (url, services), pytest.MonkeyPatch.context() as patched:
        now, made = clock.now, Stage(url, services, folder)
        patched.setattr(clock, "now", lambda: now() + made.slept)
        thread = threading.Thread(target=made.run, daemon=True)
        thread.start()
        yield made
        made.close()
        thread.join()


@pytest.fixture(scope="module")
def giver(stage: Stage) -> Account:
    """The owner of the files."""
    account = make_account(stage.services)
    make_file(stage.client, account, PLAN, filename="plan.txt", content_type="text/plain")
    return account


@pytest.fixture(scope="module")
def recipient(stage: Stage) -> Account:
    """An account without room for the files, until the act `room`. The act `sign-out` ends its sessions from another device."""
    account = make_account(stage.services)

    def set_quota(quota: int | None) -> str:
        with stage.services.engine.begin() as connection:
            connection.execute(sql('UPDATE "user" SET quota_bytes = :quota WHERE id = :id'), {"quota": quota, "id": account.id})
        return ""

    def sign_out() -> str:
        with stage.services.unit_of_work() as session:
            stage.services.sessions(session).sign_out_everywhere(session.get_one(User, account.id))
        return ""

    set_quota(len(PLAN) - 1)
    stage.acts |= {"room": lambda: set_quota(None), "sign-out": sign_out}
    return account


@pytest.fixture(scope="module")
def results(stage: Stage, giver: Account, recipient: Account, visit: Callable[[dict[str, Any]], Results]) -> Results:
    """The results of all jobs, run in one browser."""
    end_everything: Steps = [{"click": "End everything"}, {"click": "End everything", "within": "dialog"}, {"see": "Sign in to We-Upload"}]
    other_account: Steps = [*sign_in(giver.email, giver.password), {"see": "Requests", "role": "heading"}]
    again = sign_in(recipient.email, recipient.password)
    registration: Steps = [
        *({"click": "Create an account", "role": "link"}, {"fill": "E-mail", "value": NEWCOMER}),
        *({"fill": "Password", "value": NEW_PASSWORD}, {"click": "Create account"}, {"see": "We sent you a mail with a link."}, *INSPECT),
        *({"openFrom": f"{stage.url}/mailed-link"}, {"see": "Enter the password of your account."}, *INSPECT),
        *({"fill": "Password", "value": NEW_PASSWORD}, {"click": "Confirm"}, {"see": "Your e-mail address is confirmed."}),
        *({"click": "To the sign-in", "role": "link"}, *sign_in(NEWCOMER, NEW_PASSWORD), {"see": "Drop your first files here"}),
        *({"open": f"{stage.api}/settings"}, {"see": "Language of mails"}, *INSPECT, {"select": "Language of mails", "option": "Deutsch"}),
        *({"see": "Changes saved"}, {"select": "Time zone of mails", "option": "America/New York"}, {"click": "Delete account"}),
        *({"fill": "Current password", "value": NEW_PASSWORD, "within": "dialog"}, {"click": "Delete account", "within": "dialog"}),
        {"see": "Your account is closed and will be deleted on"},
    ]
    gives: Steps = [
        *(*sign_in(giver.email, giver.password), *FILES, {"open": f"{stage.api}/settings"}, {"click": "Hand files over"}),
        *({"fill": "E-mail address of the recipient", "value": recipient.email}, *INSPECT),
        *({"fill": "Current password", "value": giver.password, "within": "dialog"}, {"click": "Hand files over", "within": "dialog"}),
        *({"see": f"Offered to {recipient.email}"}, {"open": f"{stage.api}/files"}, *FILES),
        # Without locks between tabs, both send the same refresh token.
        {"together": REFRESH, "steps": [{"see": "plan.txt"}, *LINKS]},
        *({"lose": REFRESH}, {"reload": True}, {"see": "No connection to the server"}, {"click": "Try again"}),
        *({"see": "Links", "role": "heading"}, {"reload": True}, {"see": "Links", "role": "heading"}),
    ]
    takes: Steps = [
        *(*sign_in(recipient.email, recipient.password), *FILES, {"open": f"{stage.api}/settings"}, {"see": f"From {giver.email}"}),
        *({"click": "Accept"}, {"see": "There is not enough room."}, *INSPECT, stage.act("room"), {"click": "Accept"}),
        *({"see": "The files are yours"}, {"key": "g"}, {"key": "f"}, {"see": "plan.txt"}),
        # The clock of the tab moved on too, so that it renews its tokens before the next request.
        *(stage.act("sleep-a-week"), {"sleep": 7}, *LINKS),
        # The tab takes its token for a valid one, and the server refuses it.
        *(stage.act("sleep-six-days"), {"click": "Requests", "role": "link"}, {"see": "No requests yet"}),
        *({"click": "New request"}, {"fill": "What do you need?", "value": TITLE}, stage.act("sleep-too-long")),
        *({"click": "Create request"}, {"see": "what you typed is still there"}, *INSPECT, {"key": "Escape"}),
        *(
            {"fill": "Password", "value": "a wrong password"},
            {"click": "Sign in", "within": "dialog"},
            {"see": "E-mail or password is wrong."},
        ),
        *(
            {"fill": "Password", "value": recipient.password},
            {"click": "Sign in", "within": "dialog"},
            {"gone": "what you typed is still there"},
        ),
        *({"click": "Create request"}, {"see": "Send this link"}, {"key": "Escape"}, {"gone": "Send this link"}, {"see": TITLE}),
        # Without typed text, the sign-in page leads back.
        *(stage.act("sleep-too-long"), {"click": "Settings", "role": "link"}, {"see": "Your session has ended."}, *again),
        *({"see": "Settings", "role": "heading"}, stage.act("sign-out"), {"key": "g"}, {"key": "l"}),
        *({"see": "Sign in to We-Upload"}, *again, {"see": "Links", "role": "heading"}, {"key": "g"}, {"key": "r"}),
        # Another account signs in: what the first one typed goes, and no request of the tab reaches the other account.
        *({"click": "New request"}, {"fill": "What do you need?", "value": TITLE}, stage.act("sign-out"), {"secondTab": other_account}),
        *({"see": giver.email}, {"gone": "What do you need?"}, {"click": "Settings", "role": "link"}),
        # The first tab sends no request, and yet notices.
        *({"see": "Sessions", "role": "heading"}, {"secondTab": end_everything}, {"see": "Sign in to We-Upload"}),
    ]
    jobs: dict[str, dict[str, Any]] = {
        "registration": {"steps": registration},
        "gives": {"steps": gives, "withoutLocks": True},
        "takes": {"steps": takes, "canSleep": True},
    }
    return visit({name: {"url": f"{stage.api}/", "keepsPolicy": True, **job} for name, job in jobs.items()})


def count_of(results: Results, job: str, path: str) -> int:
    return [urlsplit(url).path for url in results[job]["requests"]].count(path)


def actions_of(stage: Stage, account: Account) -> list[str]:
    with stage.services.engine.connect() as connection:
        query = sql("SELECT action FROM audit_event WHERE actor_id = :id")
        return list(connection.execute(query, {"id": account.id}).scalars())


def test_every_job_completed(results: Results) -> None:
    assert failures(results) == {}


def test_registered_account_is_confirmed_and_closed(results: Results, stage: Stage) -> None:
    with stage.services.engine.connect() as connection:
        query = sql('SELECT email_verified_at IS NOT NULL, deletion_at IS NOT NULL, locale, time_zone FROM "user" WHERE email = :email')
        assert connection.execute(query, {"email": NEWCOMER}).one() == (True, True, "de", "America/New_York")


def test_files_belong_to_the_recipient_after_the_consent(results: Results, stage: Stage, giver: Account, recipient: Account) -> None:
    assert results["takes"]["statuses"].count(413) == 1
    with stage.services.engine.connect() as connection:
        owners = connection.execute(sql("SELECT owner_id FROM file WHERE filename = 'plan.txt'")).scalars().all()
    assert owners == [recipient.id]
    assert actions_of(stage, recipient).count("ownership.accepted") == 1


def test_tabs_and_lost_answers_need_no_second_sign_in(results: Results, stage: Stage, giver: Account) -> None:
    assert count_of(results, "gives", "/api/v1/session") == 1
    assert "token.refresh_repeated" in actions_of(stage, giver)
    assert "token.reused" not in actions_of(stage, giver)


def test_session_outlasts_two_weeks_of_sleep_with_a_refresh_between(results: Results) -> None:
    # At the start, with a wrong password and the right one, at the page, after the sign-out from another device, and of the other account.
    assert count_of(results, "takes", "/api/v1/session") == 6


def test_pages_have_no_accessibility_violations(results: Results) -> None:
    reports = [report for result in results.values() for report in result["axe"]]

    assert len(reports) == 6
    assert [report["violations"] for report in reports if report["violations"]] == []


def test_browser_reports_neither_errors_nor_violations_of_the_policy(results: Results) -> None:
    # The browser itself reports refusals, and the answer that was lost.
    expected = ("status of 401", "status of 403", "status of 413", "net::ERR_CONNECTION_RESET")
    messages = {
        name: [one for one in found if not any(part in one for part in expected)] for name, found in console_messages(results).items()
    }
    assert {name: found for name, found in messages.items() if found} == {}
