"""Rate limits on mail: they bound what an attacker can send to an inbox, and do not lock the owner out of password resets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories.accounts.mail_allowances import MAIL_WINDOW, MailAllowanceRepository, MailRequester
from tests.support.accounts import Account, make_account
from tests.support.gateway import unused_address
from tests.support.mailing import Mailing, mailing
from tests.support.wire import WireProxy

LOGIN = "/api/v1/login"
NEW = "a better password"


@pytest.fixture
def user(mail: Mailing) -> Account:
    return make_account(mail.services, is_verified=False)


def request_reset(mail: Mailing, email: str, *, source: str | None = None, times: int = 1) -> None:
    with mail.client_from(source or unused_address()) as client:
        for _ in range(times):
            response = client.post(f"{LOGIN}/forgot-password", json={"email": email})
            assert (response.status_code, list(response.json())) == (202, ["detail"])


def reset(mail: Mailing, token: str) -> int:
    return mail.client.post(f"{LOGIN}/reset-password", json={"token": token, "password": NEW}).status_code


def test_one_address_cannot_flood_an_inbox_or_block_the_owners_reset(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email, source=unused_address(), times=10)
    assert len(mail.mails()) == 3

    request_reset(mail, user.email)

    assert len(mail.mails()) == 4
    assert reset(mail, mail.token()) == 204


def test_flood_from_many_addresses_leaves_valid_links_in_the_inbox(mail: Mailing, user: Account) -> None:
    """Once the limit is reached no link is sent, but the links in the inbox stay valid until the limit ends."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        for _ in range(20):
            request_reset(mail, user.email)
        assert len(mail.mails()) == 5
        traveller.shift(MAIL_WINDOW - timedelta(seconds=1))
        request_reset(mail, user.email)
        assert len(mail.mails()) == 5
        assert reset(mail, mail.token(0)) == 204

    with time_machine.travel(clock.now() + MAIL_WINDOW, tick=False):
        request_reset(mail, user.email)
    assert len(mail.mails()) == 6


def test_one_ipv6_prefix_counts_as_one_requester(mail: Mailing, user: Account) -> None:
    for number in range(10):
        request_reset(mail, user.email, source=f"2001:db8:7:7:{number:x}::1")

    assert len(mail.mails()) == 3


def test_kinds_of_mail_have_separate_limits(mail: Mailing, user: Account) -> None:
    for _ in range(6):
        request_reset(mail, user.email)

    mail.client.post(f"{LOGIN}/verification", json={"email": user.email})

    assert "/verify-email#token=" in mail.mails()[-1]
    assert len(mail.mails()) == 6


@pytest.mark.parametrize(("networks", "sent"), [(1, 3), (50, 5)])
def test_concurrent_requests_are_each_counted(settings: Settings, user: Account, networks: int, sent: int) -> None:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 10, "mail_folder": "unused"}))
    sources = [unused_address() for _ in range(networks)]

    def request_mail(number: int) -> bool:
        token = set_request_context(RequestContext(source_address=sources[number % networks]))
        try:
            with pooled.unit_of_work() as session:
                return pooled.recovery(session).start_password_reset(user.email) is not None
        finally:
            reset_request_context(token)

    with ThreadPoolExecutor(10) as pool:
        mails = sum(pool.map(request_mail, range(50)))
    with pooled.engine.connect() as connection:
        tokens = connection.execute(text("SELECT count(*) FROM mail_token WHERE user_id = :id"), {"id": user.id}).scalar_one()
    pooled.engine.dispose()

    assert (mails, tokens) == (sent, sent)


def test_requester_has_a_total_limit_and_refused_requests_use_no_other_allowance(services: Services) -> None:
    crowd, victim = [f"user-{number}-{uuid4()}@example.com" for number in range(4)], f"user-{uuid4()}@example.com"
    busy = MailRequester(f"network|{uuid4()}", mails=4)

    def consume(email: str, requester: MailRequester) -> bool:
        with services.unit_of_work() as session:
            return MailAllowanceRepository(session).consume("test", email=email, requester=requester)

    assert [consume(email, busy) for email in (*crowd, victim, victim, victim)] == [True] * 4 + [False] * 3
    others = [MailRequester(f"network|{uuid4()}", mails=4) for _ in range(6)]
    assert [consume(victim, other) for other in others] == [True] * 5 + [False]


def test_email_without_an_account_runs_the_same_statements(settings: Settings, tmp_path: object) -> None:
    url = settings.database_url.get_secret_value()
    counted: dict[str, list[str]] = {}
    with WireProxy(url) as proxy:
        changes = {"database_url": SecretStr(proxy.url_for(url))}
        with mailing(settings, tmp_path, **changes) as mail:  # type: ignore[arg-type]  # the fixture is a Path
            known = make_account(mail.services).email
            for email in (known, f"unknown-{uuid4()}@example.com"):
                for attempt in range(4):
                    with proxy.count() as count:
                        mail.client.post(f"{LOGIN}/forgot-password", json={"email": email})
                    counted[f"{email == known} {attempt}"] = count.statements

    assert len(mail.mails()) == 3
    assert [counted[f"True {attempt}"] for attempt in range(4)] == [counted[f"False {attempt}"] for attempt in range(4)]
    assert len(counted["True 0"]) == 4, "consume the allowance; begin, insert the token; commit"


def test_purge_deletes_expired_allowances(mail: Mailing, user: Account) -> None:
    request_reset(mail, user.email)

    def purge() -> int:
        with mail.services.unit_of_work() as session:
            return mail.services.maintenance(session).purge()["mail_allowances"]

    assert purge() == 0
    with time_machine.travel(clock.now() + MAIL_WINDOW + timedelta(seconds=1), tick=False):
        assert purge() >= 2


def change_email(mail: Mailing, user: Account, email: str) -> int:
    body = {"email": email, "current_password": user.password}
    return mail.client.put("/api/v1/users/me", json=body, headers=user.headers).status_code


def test_email_change_sends_a_verification_and_a_notice_to_the_old_address(mail: Mailing, user: Account) -> None:
    mail.client.post(f"{LOGIN}/verification", json={"email": user.email})
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": mail.token(), "password": user.password}).status_code == 204
    stale = mail.token()
    new = f"moved-{uuid4()}@example.com"

    assert change_email(mail, user, new) == 200

    (old, notice), (verified, _) = mail.sent()[1:]
    assert (old, verified) == (user.email, new)
    assert "was changed" in notice
    assert new not in notice
    assert "token" not in notice
    assert verified_at(mail, user) is None
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": stale}).status_code == 410
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": mail.token(), "password": user.password}).status_code == 204
    assert verified_at(mail, user) is not None


def verified_at(mail: Mailing, user: Account) -> object:
    with mail.services.engine.connect() as connection:
        return connection.execute(text('SELECT email_verified_at FROM "user" WHERE id = :id'), {"id": user.id}).scalar_one()


def test_email_change_by_a_superuser_sends_both_mails(mail: Mailing, user: Account) -> None:
    root = make_account(mail.services, is_superuser=True)
    new = f"moved-{uuid4()}@example.com"

    change = {"email": new, "current_password": root.password}
    assert mail.client.put(f"/api/v1/users/{user.id}", json=change, headers=root.headers).status_code == 200

    assert [to for to, _ in mail.sent()] == [user.email, new]


def test_mail_of_the_change_verifies_the_new_address(strict: Mailing, user: Account) -> None:
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = now() WHERE id = :id'), {"id": user.id})
    new = f"moved-{uuid4()}@example.com"
    assert change_email(strict, user, new) == 200
    form = {"username": new, "password": user.password}
    assert strict.client.post(f"{LOGIN}/token", data=form).status_code == 403

    assert strict.client.post(f"{LOGIN}/verify-email", json={"token": strict.token(), "password": user.password}).status_code == 204

    assert strict.client.post(f"{LOGIN}/token", data=form).status_code == 200


def test_unchanged_address_sends_no_mail_and_stays_verified(strict: Mailing, user: Account) -> None:
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = now() WHERE id = :id'), {"id": user.id})

    assert change_email(strict, user, user.email.upper()) == 200

    assert strict.sent() == []
    assert strict.client.get("/api/v1/users/me", headers=user.headers).status_code == 200


def test_account_that_changes_its_address_repeatedly_sends_limited_mail(mail: Mailing, user: Account) -> None:
    victims = [f"victim-{uuid4()}@example.com" for _ in range(6)]

    assert [change_email(mail, user, victim) for victim in victims] == [200] * 6

    verifications = [to for to, body in mail.sent() if "verify-email" in body]
    notices = [to for to, body in mail.sent() if "verify-email" not in body]
    assert (verifications, notices) == (victims[:5], [user.email, *victims[:4]])


def test_many_accounts_cannot_flood_one_inbox_by_email_changes(mail: Mailing) -> None:
    victim = f"victim-{uuid4()}@example.com"
    for _ in range(6):
        account = make_account(mail.services)
        assert change_email(mail, account, victim) == 200
        assert change_email(mail, account, f"elsewhere-{uuid4()}@example.com") == 200

    received = [body for to, body in mail.sent() if to == victim]
    assert len([body for body in received if "verify-email" in body]) == 5
    assert len(received) == 10


def test_refused_email_change_uses_no_allowance(mail: Mailing, user: Account, make_user: Callable[..., Account]) -> None:
    taken = make_user().email
    assert [change_email(mail, user, taken) for _ in range(5)] == [409] * 5

    assert change_email(mail, user, f"moved-{uuid4()}@example.com") == 200

    assert len(mail.sent()) == 2
