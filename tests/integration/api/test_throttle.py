"""The throttle of sign-ins slows down guesses and does not lock the owner out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import NotAuthenticatedError, TooManyRequestsError
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS
from lambda_app.services.accounts.login_throttle import network_of
from tests.support.accounts import Account
from tests.support.gateway import unused_address
from tests.support.problems import assert_problem

LOGIN = "/api/v1/login/token"
ClientFrom = Callable[[str], httpx.Client]


@pytest.fixture
def cheap_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong passwords are rejected without an Argon2 hash, which would take too long for a thousand attempts."""
    original = PasswordHasher.verify

    def verify(hasher: PasswordHasher, password: str, hashed: str | None) -> bool:
        return False if password.startswith("wrong") else original(hasher, password, hashed)

    monkeypatch.setattr(PasswordHasher, "verify", verify)


WRONG = "wrong password"


def sign_in(client: httpx.Client, email: str, password: str = WRONG) -> httpx.Response:
    return client.post(LOGIN, data={"username": email, "password": password})


def test_delay_starts_after_six_wrong_passwords_and_doubles(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False) as traveller:
        assert [sign_in(attacker, owner.email).status_code for _ in range(6)] == [401] * 6
        waits = []
        for _ in range(12):
            blocked = sign_in(attacker, owner.email)
            assert_problem(blocked, 429, "too_many_attempts")
            waits.append(int(blocked.headers["retry-after"]))
            traveller.shift(timedelta(seconds=waits[-1]))
            assert sign_in(attacker, owner.email).status_code == 401

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_right_password_is_refused_while_blocked(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        for _ in range(6):
            sign_in(attacker, owner.email)
        assert_problem(sign_in(attacker, owner.email, owner.password), 429, "too_many_attempts")


def test_unknown_account_is_throttled_like_a_known_one(client_from: ClientFrom) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        email = f"unknown-{uuid4()}@example.com"
        assert [sign_in(attacker, email).status_code for _ in range(7)] == [401] * 6 + [429]


def test_successful_sign_in_resets_the_counter(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as home, time_machine.travel(clock.now(), tick=False):
        for _ in range(4):
            assert [sign_in(home, owner.email).status_code for _ in range(4)] == [401] * 4
            assert sign_in(home, owner.email, owner.password).status_code == 200


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_hash")
def test_thousand_wrong_sign_ins_do_not_lock_the_owner_out(client_from: ClientFrom, owner: Account) -> None:
    """500 attempts come from one address and 500 from a hundred addresses."""
    counts: dict[int, int] = {}
    with client_from(unused_address()) as one:
        for _ in range(500):
            status = sign_in(one, owner.email).status_code
            counts[status] = counts.get(status, 0) + 1
    for _ in range(100):
        with client_from(unused_address()) as many:
            for _ in range(5):
                status = sign_in(many, owner.email).status_code
                counts[status] = counts.get(status, 0) + 1

    with client_from(unused_address()) as home:
        assert sign_in(home, owner.email, owner.password).status_code == 200
        assert sign_in(home, owner.email, owner.password).status_code == 200
    assert sum(counts.values()) == 1000
    assert counts[429] > 600, counts
    assert set(counts) == {401, 429}


@pytest.mark.usefixtures("cheap_hash")
def test_one_address_cannot_try_one_password_on_many_accounts(client_from: ClientFrom) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        responses = [sign_in(attacker, f"user-{number}-{uuid4()}@example.com").status_code for number in range(60)]

    assert responses == [401] * 51 + [429] * 9


@pytest.mark.usefixtures("cheap_hash")
def test_blocked_address_creates_no_counters(client_from: ClientFrom, services: Services) -> None:
    def counters() -> int:
        with services.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM sign_in_attempt")).scalar_one())

    def sign_in_and_count() -> tuple[int, int]:
        before = counters()
        status = sign_in(attacker, f"user-{uuid4()}@example.com").status_code
        return status, counters() - before

    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        observed = [sign_in_and_count() for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 4)]

    # Each attempt creates two counters for the account. The first also creates the counter of the address.
    assert observed == [(401, 3), *[(401, 2)] * FREE_ATTEMPTS_PER_ADDRESS, *[(429, 0)] * 3]


@pytest.mark.slow
def test_failures_of_many_users_behind_one_address_expire(client_from: ClientFrom, owner: Account) -> None:
    """Forty users behind one address each enter one wrong password an hour, for six hours."""
    with client_from(unused_address()) as office, time_machine.travel(clock.now(), tick=False) as traveller:
        for _ in range(6):
            mistyped = [sign_in(office, f"user-{number}-{uuid4()}@example.com").status_code for number in range(40)]
            assert mistyped == [401] * 40
            traveller.shift(timedelta(minutes=61))
        assert sign_in(office, owner.email, owner.password).status_code == 200


@pytest.mark.usefixtures("cheap_hash")
def test_counters_expire_after_a_day(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False) as traveller:
        assert [sign_in(attacker, owner.email).status_code for _ in range(7)][-1] == 429
        traveller.shift(timedelta(hours=23))
        assert [sign_in(attacker, owner.email).status_code for _ in range(2)] == [401, 429]
        traveller.shift(timedelta(hours=1, seconds=1))
        assert [sign_in(attacker, owner.email).status_code for _ in range(7)] == [401] * 6 + [429]


@pytest.mark.usefixtures("cheap_hash")
def test_concurrent_attempts_are_each_counted(settings: Settings, owner: Account) -> None:
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 20}))
    source = unused_address()

    def attempt(_: int) -> int:
        token = set_request_context(RequestContext(source_address=source))
        try:
            with pooled.unit_of_work() as session:
                pooled.sessions(session).sign_in(email=owner.email, password="wrong password")
        except (NotAuthenticatedError, TooManyRequestsError) as error:
            return error.status
        finally:
            reset_request_context(token)
        return 200

    with time_machine.travel(clock.now(), tick=False), ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(attempt, range(100)))
    pooled.engine.dispose()

    assert statuses.count(401) == 6
    assert statuses.count(429) == 94


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"])
def test_forwarding_headers_do_not_change_the_throttled_address(client_from: ClientFrom, owner: Account, header: str) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        responses = [
            attacker.post(
                LOGIN, data={"username": owner.email, "password": "wrong password"}, headers={header: f"for=10.9.9.{number}"}
            ).status_code
            for number in range(7)
        ]

    assert responses[-1] == 429


@pytest.mark.parametrize("spelling", [str.upper, str.title])
def test_case_of_the_email_does_not_change_the_throttled_account(
    client_from: ClientFrom, owner: Account, spelling: Callable[[str], str]
) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        for _ in range(6):
            sign_in(attacker, owner.email)
        assert sign_in(attacker, spelling(owner.email)).status_code == 429


def test_current_password_cannot_be_guessed_with_a_stolen_token(client_from: ClientFrom, owner: Account) -> None:
    change = {"password": "a replacement password", "current_password": "wrong password"}
    with client_from(unused_address()) as thief, time_machine.travel(clock.now(), tick=False):
        responses = [thief.put("/api/v1/users/me", json=change, headers=owner.headers).status_code for _ in range(7)]

    assert responses == [403] * 6 + [429]


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        (None, "unknown"),
        ("nonsense", "unknown"),
    ],
)
def test_ipv6_prefix_counts_as_one_source(source: str | None, network: str) -> None:
    assert network_of(source) == network


def test_ipv6_prefix_is_throttled_and_the_neighbouring_prefix_is_not(client_from: ClientFrom, owner: Account) -> None:
    """The 2^64 addresses of a /64 prefix count as one source, with one Retry-After."""
    network = f"2001:db8:{uuid4().hex[:4]}"
    with time_machine.travel(clock.now(), tick=False):
        responses = []
        for number in range(8):
            with client_from(f"{network}:1:{number:x}:{number:x}:{number:x}:{number + 1:x}") as attacker:
                responses.append(sign_in(attacker, owner.email))
        with client_from(f"{network}:2::1") as neighbour:
            assert sign_in(neighbour, owner.email, owner.password).status_code == 200

    assert [response.status_code for response in responses] == [401] * 6 + [429] * 2
    assert_problem(responses[-1], 429, "too_many_attempts")
    assert responses[-1].headers["retry-after"] == "1"
