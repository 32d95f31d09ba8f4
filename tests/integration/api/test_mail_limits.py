"""How much mail can be asked for, and that nobody is kept from a link by those who ask in their name."""

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
    return make_account(mail.client, mail.services)


def forget(mail: Mailing, email: str, *, source: str | None = None, times: int = 1) -> None:
    with mail.client_from(source or unused_address()) as client:
        for _ in range(times):
            answer = client.post(f"{LOGIN}/forgot-password", json={"email": email})
            assert (answer.status_code, answer.json()) == (202, None)


def reset(mail: Mailing, token: str) -> int:
    return mail.client.post(f"{LOGIN}/reset-password", json={"token": token, "password": NEW}).status_code


def test_stranger_fills_no_inbox_and_keeps_nobody_from_a_link(mail: Mailing, user: Account) -> None:
    forget(mail, user.email, source=unused_address(), times=10)
    assert len(mail.mails()) == 3

    forget(mail, user.email)

    assert len(mail.mails()) == 4
    assert reset(mail, mail.token()) == 204


def test_strangers_at_many_addresses_leave_the_owner_links_that_are_good(mail: Mailing, user: Account) -> None:
    """The limit is reached; then the inbox holds links, each as good as the one that is not sent, for as long as none is."""
    with time_machine.travel(clock.now(), tick=False) as traveller:
        for _ in range(20):
            forget(mail, user.email)
        assert len(mail.mails()) == 5
        traveller.shift(MAIL_WINDOW - timedelta(seconds=1))
        forget(mail, user.email)
        assert len(mail.mails()) == 5
        assert reset(mail, mail.token(0)) == 204

    with time_machine.travel(clock.now() + MAIL_WINDOW, tick=False):
        forget(mail, user.email)
    assert len(mail.mails()) == 6


def test_ipv6_customer_is_one_stranger(mail: Mailing, user: Account) -> None:
    for number in range(10):
        forget(mail, user.email, source=f"2001:db8:7:7:{number:x}::1")

    assert len(mail.mails()) == 3


def test_one_kind_of_mail_does_not_use_up_another(mail: Mailing, user: Account) -> None:
    for _ in range(6):
        forget(mail, user.email)

    mail.client.post(f"{LOGIN}/verification", json={"email": user.email})

    assert "/verify-email#token=" in mail.mails()[-1]
    assert len(mail.mails()) == 6


@pytest.mark.parametrize(("networks", "sent"), [(1, 3), (50, 5)])
def test_fifty_requests_at_once_are_counted_one_by_one(settings: Settings, user: Account, networks: int, sent: int) -> None:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 10, "mail_folder": "unused"}))
    sources = [unused_address() for _ in range(networks)]

    def ask(number: int) -> bool:
        token = set_request_context(RequestContext(source_address=sources[number % networks]))
        try:
            with pooled.unit_of_work() as session:
                return pooled.recovery(session).start_password_reset(user.email) is not None
        finally:
            reset_request_context(token)

    with ThreadPoolExecutor(10) as pool:
        mails = sum(pool.map(ask, range(50)))
    with pooled.engine.connect() as connection:
        tokens = connection.execute(text("SELECT count(*) FROM mail_token WHERE user_id = :id"), {"id": user.id}).scalar_one()
    pooled.engine.dispose()

    assert (mails, tokens) == (sent, sent)


def test_asker_has_limits_for_all_addresses_together_and_uses_up_nobodys_beyond_them(services: Services) -> None:
    crowd, victim = [f"user-{number}-{uuid4()}@example.com" for number in range(4)], f"user-{uuid4()}@example.com"
    busy = MailRequester(f"network|{uuid4()}", mails=4)

    def take(email: str, asker: MailRequester) -> bool:
        with services.unit_of_work() as session:
            return MailAllowanceRepository(session).consume("test", email=email, requester=asker)

    assert [take(email, busy) for email in (*crowd, victim, victim, victim)] == [True] * 4 + [False] * 3
    others = [MailRequester(f"network|{uuid4()}", mails=4) for _ in range(6)]
    assert [take(victim, other) for other in others] == [True] * 5 + [False]


def test_address_without_account_costs_the_same_statements(settings: Settings, tmp_path: object, quick: None) -> None:
    url = settings.database_url.get_secret_value()
    counted: dict[str, list[str]] = {}
    with WireProxy(url) as proxy:
        changes = {"database_url": SecretStr(proxy.url_for(url))}
        with mailing(settings, tmp_path, **changes) as mail:  # type: ignore[arg-type]  # pytest's fixture is a Path
            known = make_account(mail.client, mail.services).email
            for email in (known, f"nobody-{uuid4()}@example.com"):
                for attempt in range(4):
                    with proxy.count() as count:
                        mail.client.post(f"{LOGIN}/forgot-password", json={"email": email})
                    counted[f"{email == known} {attempt}"] = count.statements

    assert len(mail.mails()) == 3
    assert [counted[f"True {attempt}"] for attempt in range(4)] == [counted[f"False {attempt}"] for attempt in range(4)]
    assert len(counted["True 0"]) == 4, "take; begin, add; commit"


def test_purge_forgets_what_begins_anew_anyway(mail: Mailing, user: Account) -> None:
    forget(mail, user.email)

    def purge() -> int:
        with mail.services.unit_of_work() as session:
            return mail.services.maintenance(session).purge()["mail_allowances"]

    assert purge() == 0
    with time_machine.travel(clock.now() + MAIL_WINDOW + timedelta(seconds=1), tick=False):
        assert purge() >= 2


def change(mail: Mailing, user: Account, email: str) -> int:
    body = {"email": email, "current_password": user.password}
    return mail.client.put("/api/v1/users/me", json=body, headers=user.headers).status_code


def test_changed_address_is_asked_to_be_confirmed_and_the_old_one_is_told(mail: Mailing, user: Account) -> None:
    mail.client.post(f"{LOGIN}/verification", json={"email": user.email})
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": mail.token()}).status_code == 204
    stale = mail.token()
    new = f"moved-{uuid4()}@example.com"

    assert change(mail, user, new) == 200

    (told, notice), (asked, _) = mail.sent()[1:]
    assert (told, asked) == (user.email, new)
    assert "was changed" in notice
    assert new not in notice
    assert "token" not in notice
    assert verified_at(mail, user) is None
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": stale}).status_code == 410
    assert mail.client.post(f"{LOGIN}/verify-email", json={"token": mail.token()}).status_code == 204
    assert verified_at(mail, user) is not None


def verified_at(mail: Mailing, user: Account) -> object:
    with mail.services.engine.connect() as connection:
        return connection.execute(text('SELECT email_verified_at FROM "user" WHERE id = :id'), {"id": user.id}).scalar_one()


def test_superusers_change_is_told_and_asked_too(mail: Mailing, user: Account) -> None:
    root = make_account(mail.client, mail.services, is_superuser=True)
    new = f"moved-{uuid4()}@example.com"

    assert mail.client.put(f"/api/v1/users/{user.id}", json={"email": new}, headers=root.headers).status_code == 200

    assert [to for to, _ in mail.sent()] == [user.email, new]


def test_new_address_is_confirmed_by_the_mail_of_the_change_where_that_is_demanded(strict: Mailing, user: Account) -> None:
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = now() WHERE id = :id'), {"id": user.id})
    new = f"moved-{uuid4()}@example.com"
    assert change(strict, user, new) == 200
    form = {"username": new, "password": user.password}
    assert strict.client.post(f"{LOGIN}/token", data=form).status_code == 403

    assert strict.client.post(f"{LOGIN}/verify-email", json={"token": strict.token()}).status_code == 204

    assert strict.client.post(f"{LOGIN}/token", data=form).status_code == 200


def test_address_that_stays_the_same_sends_nothing_and_stays_confirmed(strict: Mailing, user: Account) -> None:
    with strict.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET email_verified_at = now() WHERE id = :id'), {"id": user.id})

    assert change(strict, user, user.email.upper()) == 200

    assert strict.sent() == []
    assert strict.client.get("/api/v1/users/me", headers=user.headers).status_code == 200


def test_account_mails_to_few_addresses_however_often_it_changes_its_own(mail: Mailing, user: Account) -> None:
    victims = [f"victim-{uuid4()}@example.com" for _ in range(6)]

    assert [change(mail, user, victim) for victim in victims] == [200] * 6

    asked = [to for to, body in mail.sent() if "verify-email" in body]
    told = [to for to, body in mail.sent() if "verify-email" not in body]
    assert (asked, told) == (victims[:5], [user.email, *victims[:4]])


def test_many_accounts_cannot_fill_one_inbox_by_taking_its_address_in_turns(mail: Mailing) -> None:
    victim = f"victim-{uuid4()}@example.com"
    for _ in range(6):
        account = make_account(mail.client, mail.services)
        assert change(mail, account, victim) == 200
        assert change(mail, account, f"elsewhere-{uuid4()}@example.com") == 200

    got = [body for to, body in mail.sent() if to == victim]
    assert len([body for body in got if "verify-email" in body]) == 5
    assert len(got) == 10


def test_change_that_is_refused_uses_up_no_mail(mail: Mailing, user: Account, make_user: Callable[..., Account]) -> None:
    taken = make_user().email
    assert [change(mail, user, taken) for _ in range(5)] == [409] * 5

    assert change(mail, user, f"moved-{uuid4()}@example.com") == 200

    assert len(mail.sent()) == 2
