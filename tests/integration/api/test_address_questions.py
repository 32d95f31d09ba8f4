"""All ways to find out whether an address has an account, each with its limit, and the limits of registrations."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import TooManyRequestsError
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import AttemptKind
from lambda_app.repositories.accounts.mail_allowances import (
    MAILS_BY_NETWORK,
    MAILS_BY_WIDER_NETWORKS,
    MAILS_FOR_ADDRESS,
    MAILS_FOR_ADDRESS_BY_REQUESTER,
    counted_address,
)
from lambda_app.repositories.accounts.sign_in_attempts import (
    FREE_ATTEMPTS_PER_ADDRESS,
    FREE_ATTEMPTS_PER_PAIR,
    FREE_ATTEMPTS_PER_WIDER_NETWORK,
)
from lambda_app.schemas.accounts.users import UserCreate
from tests.support.accounts import Account, make_file
from tests.support.gateway import unused_address
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem

API = "/api/v1"
PASSWORD = "a good password"
ClientFrom = Callable[[str], httpx.Client]


@pytest.fixture
def cheap_hash(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Passwords are not hashed with Argon2, which would take too long for hundreds of registrations. Returns those that would be."""
    hashed: list[str] = []

    def hash_password(_: PasswordHasher, password: str) -> str:
        hashed.append(password)
        return "not a hash"

    monkeypatch.setattr(PasswordHasher, "hash", hash_password)
    return hashed


@pytest.fixture
def failing_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: False)


def new_address(name: str = "new") -> str:
    return f"{name}-{uuid4()}@example.com"


def register(client: httpx.Client, email: str) -> httpx.Response:
    return client.post(f"{API}/users/", json={"email": email, "password": PASSWORD})


def ipv6_site() -> str:
    """Return the first 48 bits of an IPv6 address."""
    digits = uuid4().hex
    return f"2001:{digits[:4]}:{digits[4:8]}"


# --- registration ----------------------------------------------------------------------------------------------------


def test_registrations_of_one_network_are_limited_before_the_password_is_hashed(client_from: ClientFrom, cheap_hash: list[str]) -> None:
    with client_from(unused_address()) as attacker:
        responses = [register(attacker, new_address()) for _ in range(MAILS_BY_NETWORK + 10)]

    assert [response.status_code for response in responses] == [201] * MAILS_BY_NETWORK + [429] * 10
    assert_problem(responses[-1], 429, "too_many_registrations")
    assert int(responses[-1].headers["retry-after"]) > 0
    assert len(cheap_hash) == MAILS_BY_NETWORK


def test_registration_reveals_accounts_only_within_the_limit(client_from: ClientFrom, owner: Account, cheap_hash: list[str]) -> None:
    known = [owner.email]
    with client_from(unused_address()) as attacker:
        responses = [register(attacker, email).status_code for _ in range(MAILS_FOR_ADDRESS_BY_REQUESTER + 2) for email in known]
        assert responses == [409] * MAILS_FOR_ADDRESS_BY_REQUESTER + [429] * 2
        for _ in range(MAILS_BY_NETWORK):
            register(attacker, new_address())
        # At the limit, known and unknown addresses get the same response.
        for email in (owner.email, new_address()):
            assert_problem(register(attacker, email), 429, "too_many_registrations")


def test_tagged_addresses_of_one_mailbox_share_one_limit(strict: Mailing, cheap_hash: list[str]) -> None:
    mailbox = f"victim-{uuid4()}"
    with strict.client_from(unused_address()) as attacker:
        responses = [register(attacker, f"{mailbox}+{number}@example.com").status_code for number in range(20)]
    assert responses == [201] * MAILS_FOR_ADDRESS_BY_REQUESTER + [429] * (20 - MAILS_FOR_ADDRESS_BY_REQUESTER)
    for number in range(20):
        with strict.client_from(unused_address()) as attacker:
            register(attacker, f"{mailbox}+other-{number}@example.com")

    assert len(strict.mails()) == MAILS_FOR_ADDRESS
    # The owner of the mailbox can still register its own address.
    assert register(strict.client, f"{mailbox}@example.com").status_code == 201


def test_mails_to_tagged_addresses_of_one_mailbox_share_one_limit(mail: Mailing, cheap_hash: list[str]) -> None:
    mailbox = f"victim-{uuid4()}"
    addresses = [f"{mailbox}+{number}@example.com" for number in range(MAILS_FOR_ADDRESS_BY_REQUESTER)]
    assert [register(mail.client, email).status_code for email in addresses] == [201] * len(addresses)
    before = len(mail.mails())

    for number in range(20):
        with mail.client_from(unused_address()) as attacker:
            email = addresses[number % len(addresses)]
            assert attacker.post(f"{API}/login/forgot-password", json={"email": email}).status_code == 202

    assert len(mail.mails()) == before + MAILS_FOR_ADDRESS


@pytest.mark.parametrize(
    ("email", "counted"),
    [
        ("name@example.com", "name@example.com"),
        ("name+tag@example.com", "name+@example.com"),
        ("name+a+b@example.com", "name+@example.com"),
        ("first.last@example.com", "first.last@example.com"),
        ("first.last@gmail.com", "firstlast@gmail.com"),
        ("first.last+tag@googlemail.com", "firstlast+@googlemail.com"),
    ],
)
def test_counted_address_ignores_tags(email: str, counted: str) -> None:
    assert counted_address(email) == counted


def test_superusers_can_register_any_number_of_accounts(client: httpx.Client, admin: Account, cheap_hash: list[str]) -> None:
    def create() -> int:
        return client.post(f"{API}/users/", json={"email": new_address(), "password": PASSWORD}, headers=admin.headers).status_code

    assert [create() for _ in range(MAILS_BY_NETWORK + 1)] == [201] * (MAILS_BY_NETWORK + 1)


def test_concurrent_registrations_are_each_counted(settings: Settings, cheap_hash: list[str]) -> None:
    pooled, source = Services.build(settings.model_copy(update={"database_pool_size": 10})), unused_address()

    def attempt(_: int) -> int:
        token = set_request_context(RequestContext(source_address=source))
        try:
            with pooled.unit_of_work() as session:
                pooled.users(session).register(UserCreate(email=new_address(), password=PASSWORD), registrar=None)
        except TooManyRequestsError as error:
            return error.status
        finally:
            reset_request_context(token)
        return 201

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(attempt, range(MAILS_BY_NETWORK + 20)))
    pooled.engine.dispose()

    assert (statuses.count(201), statuses.count(429)) == (MAILS_BY_NETWORK, 20)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "limit"), [(56, MAILS_BY_WIDER_NETWORKS[0]), (48, MAILS_BY_WIDER_NETWORKS[1])])
def test_registrations_from_one_ipv6_site_are_limited(client_from: ClientFrom, cheap_hash: list[str], bits: int, limit: int) -> None:
    site, statuses = ipv6_site(), []
    for number in range(limit + 5):
        subnet = number if bits == 56 else number << 8
        with client_from(f"{site}:{subnet:x}::1") as attacker:
            statuses.append(register(attacker, new_address()).status_code)

    assert statuses == [201] * limit + [429] * 5


# --- sign-in from IPv6 -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("failing_check")
@pytest.mark.parametrize(("kind", "shift"), [(AttemptKind.NETWORK_56, 0), (AttemptKind.NETWORK_48, 8)])
def test_wrong_passwords_from_all_networks_of_an_ipv6_site_are_counted_together(
    client_from: ClientFrom, kind: AttemptKind, shift: int
) -> None:
    site, statuses = ipv6_site(), []
    with time_machine.travel(clock.now(), tick=False):
        for number in range(249):
            with client_from(f"{site}:{number << shift:x}::1") as attacker:
                form = {"username": new_address(), "password": "wrong password"}
                statuses.append(attacker.post(f"{API}/login/token", data=form).status_code)

    admitted = FREE_ATTEMPTS_PER_WIDER_NETWORK[kind] + 1
    assert statuses == [401] * admitted + [429] * (249 - admitted)


def test_right_password_takes_the_attempt_back_in_every_network(client_from: ClientFrom, services: Services, owner: Account) -> None:
    site = ipv6_site()
    with client_from(f"{site}:1::1") as home:
        form = {"username": owner.email, "password": owner.password}
        assert home.post(f"{API}/login/token", data=form).status_code == 200
    with services.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT kind, failures FROM sign_in_attempt WHERE kind >= 5 OR kind = 2").all()

    assert sorted((int(kind), int(failures)) for kind, failures in rows if failures == 0)[-2:] == [(5, 0), (6, 0)]


# --- signed-in users -------------------------------------------------------------------------------------------------


def ask_by_change(client: httpx.Client, user: Account, email: str, path: str = "me") -> httpx.Response:
    body = {"email": email, "current_password": user.password}
    return client.put(f"{API}/users/{path}", json=body, headers=user.headers)


@pytest.mark.parametrize("path", ["me", "{id}"])
def test_change_of_address_asks_only_a_limited_number_of_times(
    client: httpx.Client, make_user: Callable[..., Account], owner: Account, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: True)
    user, others = make_user(), [make_user().email for _ in range(11)]
    with time_machine.travel(clock.now(), tick=False):
        responses = [ask_by_change(client, user, others[number % 11], path.format(id=user.id)) for number in range(53)]
        statuses = [response.status_code for response in responses]
        assert statuses == [409] * (FREE_ATTEMPTS_PER_ADDRESS + 1) + [429] * 2
        assert_problem(responses[-1], 429, "too_many_attempts")
        # Questions by sharing use the same counter.
        file = make_file(client, user)
        granted = client.put(f"{API}/files/{file['id']}/grants", json={"email": owner.email}, headers=user.headers)
        assert_problem(granted, 429, "too_many_attempts")
        # At the limit, known and unknown addresses get the same response.
        assert_problem(ask_by_change(client, user, new_address()), 429, "too_many_attempts")


def test_change_of_address_is_counted_together_with_failed_lookups(
    client: httpx.Client, make_user: Callable[..., Account], owner: Account
) -> None:
    user = make_user()
    file = make_file(client, user)
    with time_machine.travel(clock.now(), tick=False):
        for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 1):
            asked = client.put(f"{API}/files/{file['id']}/grants", json={"email": new_address()}, headers=user.headers)
            assert_problem(asked, 404, "user_not_found")
        assert_problem(ask_by_change(client, user, owner.email), 429, "too_many_attempts")


def test_offers_of_transfers_are_counted_together_with_failed_lookups(
    client: httpx.Client, make_user: Callable[..., Account], owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PasswordHasher, "verify", lambda *_: True)
    user = make_user()
    file = make_file(client, user)

    def offer(email: str) -> httpx.Response:
        body = {"email": email, "current_password": user.password}
        return client.post(f"{API}/users/{user.id}/transfer", json=body, headers=user.headers)

    with time_machine.travel(clock.now(), tick=False):
        for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 1):
            assert_problem(offer(new_address()), 404, "user_not_found")
        # At the limit, known and unknown addresses get the same response, also from the other routes.
        for email in (owner.email, new_address()):
            assert_problem(offer(email), 429, "too_many_attempts")
            granted = client.put(f"{API}/files/{file['id']}/grants", json={"email": email}, headers=user.headers)
            assert_problem(granted, 429, "too_many_attempts")


def test_repeated_change_to_one_address_and_to_the_own_address_is_possible(client: httpx.Client, make_user: Callable[..., Account]) -> None:
    user, moved = make_user(), new_address()
    for email in (user.email, moved, moved, moved):
        assert ask_by_change(client, user, email).status_code == 200
    assert FREE_ATTEMPTS_PER_PAIR > 1


def test_superusers_are_not_limited(client: httpx.Client, admin: Account, owner: Account, stranger: Account) -> None:
    for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 5):
        body = {"email": stranger.email, "current_password": admin.password}
        response = client.put(f"{API}/users/{owner.id}", json=body, headers=admin.headers)
        assert_problem(response, 409, "email_taken")
