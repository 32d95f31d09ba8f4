"""The throttle of sign-ins: guessing gets slow, and the owner gets in."""

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
    """A thousand wrong passwords without a thousand Argon2 hashes: the throttle comes before them."""
    real = PasswordHasher.verify

    def verify(hasher: PasswordHasher, password: str, hashed: str | None) -> bool:
        return False if password.startswith("wrong") else real(hasher, password, hashed)

    monkeypatch.setattr(PasswordHasher, "verify", verify)


WRONG = "wrong password"


def guess(client: httpx.Client, email: str, password: str = WRONG) -> httpx.Response:
    return client.post(LOGIN, data={"username": email, "password": password})


def test_sixth_wrong_password_from_one_address_starts_a_delay_that_doubles(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False) as traveller:
        assert [guess(attacker, owner.email).status_code for _ in range(6)] == [401] * 6
        waits = []
        for _ in range(12):
            blocked = guess(attacker, owner.email)
            assert_problem(blocked, 429, "too_many_attempts")
            waits.append(int(blocked.headers["retry-after"]))
            traveller.shift(timedelta(seconds=waits[-1]))
            assert guess(attacker, owner.email).status_code == 401

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_right_password_is_refused_too_while_blocked(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        for _ in range(6):
            guess(attacker, owner.email)
        assert_problem(guess(attacker, owner.email, owner.password), 429, "too_many_attempts")


def test_unknown_account_is_throttled_as_a_known_one(client_from: ClientFrom) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        email = f"nobody-{uuid4()}@example.com"
        assert [guess(attacker, email).status_code for _ in range(7)] == [401] * 6 + [429]


def test_success_begins_anew(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as home, time_machine.travel(clock.now(), tick=False):
        for _ in range(4):
            assert [guess(home, owner.email).status_code for _ in range(4)] == [401] * 4
            assert guess(home, owner.email, owner.password).status_code == 200


@pytest.mark.usefixtures("cheap_hash")
def test_thousand_wrong_logins_do_not_stop_the_owner(client_from: ClientFrom, owner: Account) -> None:
    """From one address, and from as many as an attacker has."""
    counts: dict[int, int] = {}
    with client_from(unused_address()) as one:
        for _ in range(500):
            status = guess(one, owner.email).status_code
            counts[status] = counts.get(status, 0) + 1
    for _ in range(100):
        with client_from(unused_address()) as many:
            for _ in range(5):
                status = guess(many, owner.email).status_code
                counts[status] = counts.get(status, 0) + 1

    with client_from(unused_address()) as home:
        assert guess(home, owner.email, owner.password).status_code == 200
        assert guess(home, owner.email, owner.password).status_code == 200
    assert sum(counts.values()) == 1000
    assert counts[429] > 600, counts
    assert set(counts) == {401, 429}


@pytest.mark.usefixtures("cheap_hash")
def test_one_address_cannot_try_one_password_on_many_accounts(client_from: ClientFrom) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        answers = [guess(attacker, f"user-{number}-{uuid4()}@example.com").status_code for number in range(60)]

    assert answers == [401] * 51 + [429] * 9


@pytest.mark.usefixtures("cheap_hash")
@pytest.mark.usefixtures("cheap_hash")
def test_blocked_address_leaves_no_new_counters(client_from: ClientFrom, services: Services) -> None:
    def counters() -> int:
        with services.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM sign_in_attempt")).scalar_one())

    def guess_and_count() -> tuple[int, int]:
        before = counters()
        status = guess(attacker, f"user-{uuid4()}@example.com").status_code
        return status, counters() - before

    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        seen = [guess_and_count() for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 4)]

    # The first leaves the address's counter too, and each the two of its account.
    assert seen == [(401, 3), *[(401, 2)] * FREE_ATTEMPTS_PER_ADDRESS, *[(429, 0)] * 3]


def test_busy_office_does_not_add_up_for_ever(client_from: ClientFrom, owner: Account) -> None:
    """Forty mistypings an hour by forty people behind one address, for six hours."""
    with client_from(unused_address()) as office, time_machine.travel(clock.now(), tick=False) as traveller:
        for _ in range(6):
            mistyped = [guess(office, f"user-{number}-{uuid4()}@example.com").status_code for number in range(40)]
            assert mistyped == [401] * 40
            traveller.shift(timedelta(minutes=61))
        assert guess(office, owner.email, owner.password).status_code == 200


@pytest.mark.usefixtures("cheap_hash")
def test_counters_begin_anew_after_a_day(client_from: ClientFrom, owner: Account) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False) as traveller:
        assert [guess(attacker, owner.email).status_code for _ in range(7)][-1] == 429
        traveller.shift(timedelta(hours=23))
        assert [guess(attacker, owner.email).status_code for _ in range(2)] == [401, 429]
        traveller.shift(timedelta(hours=1, seconds=1))
        assert [guess(attacker, owner.email).status_code for _ in range(7)] == [401] * 6 + [429]


@pytest.mark.usefixtures("cheap_hash")
def test_hundred_guesses_at_once_are_counted_as_a_hundred(settings: Settings, owner: Account) -> None:
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
def test_headers_do_not_change_who_is_throttled(client_from: ClientFrom, owner: Account, header: str) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        answers = [
            attacker.post(
                LOGIN, data={"username": owner.email, "password": "wrong password"}, headers={header: f"for=10.9.9.{number}"}
            ).status_code
            for number in range(7)
        ]

    assert answers[-1] == 429


@pytest.mark.parametrize("spelling", [str.upper, str.title])
def test_spelling_of_the_address_does_not_change_who_is_attacked(
    client_from: ClientFrom, owner: Account, spelling: Callable[[str], str]
) -> None:
    with client_from(unused_address()) as attacker, time_machine.travel(clock.now(), tick=False):
        for _ in range(6):
            guess(attacker, owner.email)
        assert guess(attacker, spelling(owner.email)).status_code == 429


def test_current_password_cannot_be_guessed_with_a_stolen_token(client_from: ClientFrom, owner: Account) -> None:
    change = {"password": "mine from now on", "current_password": "wrong password"}
    with client_from(unused_address()) as thief, time_machine.travel(clock.now(), tick=False):
        answers = [thief.put("/api/v1/users/me", json=change, headers=owner.headers).status_code for _ in range(7)]

    assert answers == [403] * 6 + [429]


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
def test_ipv6_customer_counts_as_one_source(source: str | None, network: str) -> None:
    assert network_of(source) == network


def test_ipv6_customer_waits_at_every_address_of_theirs_and_the_neighbour_does_not(client_from: ClientFrom, owner: Account) -> None:
    """2^64 addresses are one source, with one Retry-After."""
    network = f"2001:db8:{uuid4().hex[:4]}"
    with time_machine.travel(clock.now(), tick=False):
        answers = []
        for number in range(8):
            with client_from(f"{network}:1:{number:x}:{number:x}:{number:x}:{number + 1:x}") as attacker:
                answers.append(guess(attacker, owner.email))
        with client_from(f"{network}:2::1") as neighbour:
            assert guess(neighbour, owner.email, owner.password).status_code == 200

    assert [answer.status_code for answer in answers] == [401] * 6 + [429] * 2
    assert_problem(answers[-1], 429, "too_many_attempts")
    assert answers[-1].headers["retry-after"] == "1"
