"""Making share links and looking after them."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import insert, text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.errors import AppError, GoneError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS, AttemptKeys
from lambda_app.repositories.files.idempotency import IdempotencyRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.sharing.shares import RECIPIENTS_PER_SHARE, ShareOptions
from lambda_app.services.files.idempotency import LOCK_SECONDS, IdempotencyKeyReusedError, IdempotencyService
from lambda_app.services.sharing import shares as share_service
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.locks import hold_until_blocked
from tests.support.problems import assert_problem, assert_unauthenticated
from tests.support.shares import change_share, make_share

SHARES = "/api/v1/shares"
MakeUser = Callable[..., Account]


def later(**delta: float) -> str:
    return (clock.now() + timedelta(**delta)).isoformat()


def test_link_is_made_with_every_option_and_shown_without_its_token(client: httpx.Client, owner: Account, stranger: Account) -> None:
    first, second = make_file(client, owner)["id"], make_file(client, owner)["id"]
    expires_at = later(days=365)

    made = make_share(
        client, owner, second, first,
        password="swordfish", expires_at=expires_at, max_downloads=3, audience="named", recipients=[stranger.email.upper()],
        note="All that you asked for.\nNo more.",
    )  # fmt: skip

    assert re.fullmatch(r"/s/[A-Za-z0-9_-]{22}", made["url"])
    assert made["file_ids"] == [second, first]
    assert made["has_password"] is True
    assert made["recipients"] == [stranger.email]
    assert made["max_downloads"] == 3
    assert (made["download_count"], made["open_count"], made["last_opened_at"], made["revoked_at"]) == (0, 0, None, None)
    assert made["note"] == "All that you asked for.\nNo more."
    assert "swordfish" not in str(made)
    seen = client.get(f"{SHARES}/{made['id']}", headers=owner.headers)
    assert seen.json() == made | {"url": None}


def test_only_hashes_of_token_and_password_are_kept(client: httpx.Client, services: Services, owner: Account) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"], password="swordfish")
    token = made["url"].removeprefix("/s/")

    with services.engine.connect() as connection:
        row = str(connection.execute(text("SELECT * FROM share WHERE id = :id"), {"id": made["id"]}).one())
        log = str(connection.execute(text("SELECT * FROM audit_event WHERE subject = :subject"), {"subject": f"share:{made['id']}"}).all())

    assert token not in row + log
    assert "swordfish" not in row + log
    assert "$argon2id$" in row
    assert "share.created" in log


def test_link_of_one_file_is_made_below_the_file(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)["id"]

    answer = client.post(f"/api/v1/files/{file}/shares", json={}, headers=owner.headers)

    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["file_ids"] == [file]
    assert client.get(answer.json()["url"]).status_code == 200


def test_address_is_the_public_one_where_it_is_known_and_else_below_the_stage(
    settings: Settings, services: Services, client: httpx.Client, owner: Account
) -> None:
    file = make_file(client, owner)["id"]
    told = settings.model_copy(update={"api_url": "https://files.test"})
    known = create_app(told, Services.build(told))
    with httpx.Client(transport=GatewayTransport(GatewayHandler(known)), base_url="https://api.test") as public:
        assert make_share(public, owner, file)["url"].startswith("https://files.test/s/")
    known.state.services.engine.dispose()
    staged = GatewayTransport(GatewayHandler(create_app(settings, services)), payload_v1)
    with httpx.Client(transport=staged, base_url="https://api.test", headers={"Host": "evil.test"}) as rest_api:
        url = make_share(rest_api, owner, file)["url"]
        assert url.startswith("/dev/s/")
        opened = rest_api.get(url.removeprefix("/dev"))
        assert opened.json()["files"][0]["download_url"] == f"{url}/files/{file}"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"slug": "Abc"}, "malformed_request"),
        ({"slug": "ab"}, "malformed_request"),
        ({"slug": "a" * 65}, "malformed_request"),
        ({"slug": "a" * 22}, "malformed_request"),
        ({"slug": "-abc"}, "malformed_request"),
        ({"slug": "a--b"}, "malformed_request"),
        ({"slug": "admin"}, "malformed_request"),
        ({"slug": "bücher"}, "malformed_request"),
        ({"slug": "abc\n"}, "malformed_request"),
        ({"password": "abc"}, "malformed_request"),
        ({"password": "\ud800abcd"}, "malformed_request"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expired_already"),
        ({"expires_at": "2040-01-01T00:00:00"}, "malformed_request"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, "malformed_request"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "malformed_request"),
        ({"max_downloads": 0}, "malformed_request"),
        ({"max_downloads": 2**31}, "malformed_request"),
        ({"max_downloads": "5"}, "malformed_request"),
        ({"max_downloads": True}, "malformed_request"),
        ({"audience": "everyone"}, "malformed_request"),
        ({"audience": "named"}, "malformed_request"),
        ({"recipients": ["a@example.com"]}, "malformed_request"),
        ({"audience": "named", "recipients": ["no address"]}, "malformed_request"),
        ({"audience": "named", "recipients": ["a@example.com"] * 101}, "malformed_request"),
        ({"allows_download": 1}, "malformed_request"),
        ({"note": "\x00"}, "malformed_request"),
        ({"note": "x" * 1001}, "malformed_request"),
        ({"token": "mine"}, "malformed_request"),
        ({"file_ids": []}, "malformed_request"),
        ({"file_ids": [str(uuid4()) for _ in range(101)]}, "malformed_request"),
        ({"file_ids": ["x"]}, "malformed_request"),
    ],
)
def test_bad_options_are_refused(client: httpx.Client, owner: Account, options: dict[str, Any], code: str) -> None:
    body = json.dumps({"file_ids": [str(uuid4())], **options})

    answer = client.post(SHARES, content=body, headers=owner.headers | {"Content-Type": "application/json"})

    assert_problem(answer, 422, code)


def test_slug_is_unique_for_ever(client: httpx.Client, owner: Account, stranger: Account) -> None:
    slug = f"holiday-{uuid4().hex[:8]}"
    made = make_share(client, owner, make_file(client, owner)["id"], slug=slug)
    other = make_file(client, stranger)["id"]

    assert made["url"] == f"/s/{slug}"
    assert client.get(f"{SHARES}/{made['id']}", headers=owner.headers).json()["url"] == f"/s/{slug}"
    for _ in range(2):
        taken = client.post(SHARES, json={"file_ids": [other], "slug": slug}, headers=stranger.headers | {"Idempotency-Key": str(uuid4())})
        assert_problem(taken, 409, "slug_taken")
        client.delete(f"{SHARES}/{made['id']}", headers=owner.headers)


def test_only_what_one_may_share_is_shared_all_or_nothing(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    mine, theirs = make_file(client, owner)["id"], make_file(client, stranger, is_public=True)["id"]
    pending = make_file(client, owner, status="pending")["id"]
    missing = str(uuid4())

    def share(*file_ids: str) -> httpx.Response:
        return client.post(SHARES, json={"file_ids": file_ids}, headers=owner.headers)

    assert_problem(share(mine, theirs), 403, "file_forbidden", file_id=theirs)
    assert_problem(share(mine, missing), 404, "file_not_found", file_id=missing)
    assert_problem(share(mine, pending), 409, "file_not_available", file_id=pending, file_status="pending")
    assert client.get(SHARES, headers=owner.headers).json() == []
    assert make_share(client, owner, mine, mine)["file_ids"] == [mine]
    assert make_share(client, admin, mine, theirs)["owner_id"] == str(admin.id)


def test_unknown_recipients_are_named(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file, nobody = make_file(client, owner)["id"], str(uuid4())
    wanted = {"file_ids": [file], "audience": "named", "recipients": [stranger.email, "Nobody@Example.com", nobody]}

    assert_problem(
        client.post(SHARES, json=wanted, headers=owner.headers), 404, "recipient_not_found", unknown=["nobody@example.com", nobody]
    )

    # Named twice, once by address and once by id: one person, shown as they were named and not otherwise.
    twice = make_share(client, owner, file, audience="named", recipients=[stranger.email, str(stranger.id)])
    assert len(twice["recipients"]) == 1
    assert make_share(client, owner, file, audience="named", recipients=[str(stranger.id)])["recipients"] == [str(stranger.id)]


def named(client: httpx.Client, asker: Account, file: str, *recipients: str) -> httpx.Response:
    wanted = {"file_ids": [file], "audience": "named", "recipients": recipients}
    return client.post(SHARES, json=wanted, headers=asker.headers)


def guesses(count: int) -> list[str]:
    return [f"guess-{uuid4()}@example.com" for _ in range(count)]


def counted(services: Services, asker: Account) -> int:
    with services.engine.connect() as connection:
        query = text("SELECT coalesce(sum(failures), 0) FROM sign_in_attempt WHERE key = :key")
        return int(connection.execute(query, {"key": AttemptKeys.of(account="", network=f"user:{asker.id}").address}).scalar_one())


def counters(services: Services) -> set[str]:
    with services.engine.connect() as connection:
        return set(connection.execute(text("SELECT key FROM sign_in_attempt")).scalars())


def test_nobody_is_looked_up_before_the_files_are_found_to_be_the_askers(
    client: httpx.Client, services: Services, owner: Account, stranger: Account
) -> None:
    mine, theirs = make_file(client, owner)["id"], make_file(client, stranger)["id"]
    pending = make_file(client, owner, status="pending")["id"]
    foreign, revoked = make_share(client, stranger, theirs), make_share(client, owner, mine)
    client.delete(f"{SHARES}/{revoked['id']}", headers=owner.headers)
    names = [stranger.email, *guesses(1)]
    change = {"audience": "named", "recipients": names}

    refusals = (theirs, 403, "file_forbidden"), (str(uuid4()), 404, "file_not_found"), (pending, 409, "file_not_available")
    for file, status, code in refusals:
        assert_problem(named(client, owner, file, *names), status, code)
        assert_problem(named(client, owner, file, stranger.email), status, code)
    for link, status, code in ((foreign, 404, "share_not_found"), (revoked, 409, "share_revoked")):
        refused = client.patch(f"{SHARES}/{link['id']}", json=change, headers=owner.headers)
        assert_problem(refused, status, code)
    assert counted(services, owner) == 0
    assert_problem(named(client, owner, mine, *names), 404, "recipient_not_found", unknown=names[1:])
    assert counted(services, owner) == 1


def test_links_tell_no_more_addresses_than_grants_do(client: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    link = make_share(client, owner, file)
    for _ in range(FREE_ATTEMPTS_PER_ADDRESS // 25):
        unknown = guesses(25)
        assert_problem(named(client, owner, file, stranger.email, *unknown), 404, "recipient_not_found", unknown=unknown)
    last = named(client, owner, file, *guesses(1))

    refused = named(client, owner, file, *guesses(1))

    assert_problem(last, 404, "recipient_not_found")
    assert_problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["retry-after"]) >= 1
    # Known ones neither, or the difference would tell; nor by a change, nor by a grant, which all count together.
    assert_problem(named(client, owner, file, stranger.email), 429, "too_many_attempts")
    change = {"audience": "named", "recipients": [stranger.email]}
    assert_problem(client.patch(f"{SHARES}/{link['id']}", json=change, headers=owner.headers), 429, "too_many_attempts")
    grants = f"/api/v1/files/{file}/grants"
    assert_problem(client.put(grants, json={"email": stranger.email}, headers=owner.headers), 429, "too_many_attempts")
    # An id shows no address, and nobody else is held up.
    assert named(client, owner, file, str(stranger.id)).status_code == 201
    assert named(client, stranger, make_file(client, stranger)["id"], owner.email).status_code == 201


def test_who_is_blocked_leaves_no_new_counters(client: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    file = make_file(client, owner)["id"]
    for count in (25, 25, 1):
        assert_problem(named(client, owner, file, *guesses(count)), 404, "recipient_not_found")
    with services.engine.begin() as connection:
        # However slow the machine is.
        longer = "UPDATE sign_in_attempt SET blocked_until = blocked_until + interval '1 hour' WHERE key = :key"
        connection.execute(text(longer), {"key": AttemptKeys.of(account="", network=f"user:{owner.id}").address})
    before = counters(services)

    for _ in range(3):
        assert_problem(named(client, owner, file, stranger.email, *guesses(RECIPIENTS_PER_SHARE - 1)), 429, "too_many_attempts")

    assert counters(services) == before


def test_many_unknown_recipients_at_once_are_not_told_apart(client: httpx.Client, owner: Account, stranger: Account) -> None:
    refused = named(client, owner, make_file(client, owner)["id"], stranger.email, *guesses(FREE_ATTEMPTS_PER_ADDRESS + 1))

    assert_problem(refused, 429, "too_many_attempts")
    assert "@" not in refused.text


def test_hundred_known_recipients_are_never_throttled(client: httpx.Client, services: Services, owner: Account) -> None:
    people = [{"id": uuid4(), "email": f"{uuid4()}@example.com", "hashed_password": "x"} for _ in range(RECIPIENTS_PER_SHARE)]
    with services.engine.begin() as connection:
        connection.execute(insert(User), people)
    file = make_file(client, owner)["id"]

    for _ in range(2):
        assert named(client, owner, file, *(str(person["email"]) for person in people)).status_code == 201
    assert counted(services, owner) == 0


def test_disabled_recipient_looks_like_none(client: httpx.Client, services: Services, owner: Account, make_user: MakeUser) -> None:
    gone = make_user()
    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": gone.id})
    file = make_file(client, owner)["id"]

    for name in (gone.email, str(gone.id)):
        assert_problem(named(client, owner, file, name), 404, "recipient_not_found", unknown=[name])


def test_parallel_requests_are_told_no_more_addresses_than_one_after_the_other(
    client: httpx.Client, settings: Settings, services: Services, owner: Account, stranger: Account
) -> None:
    """Nor do the known ones among them show by their answers which were not: all have asked before the first is answered."""
    many = 100
    file = UUID(make_file(client, owner)["id"])
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": many + 2, "database_timeout_seconds": 60.0}))
    crowd = replace(services, engine=engine, session_factory=create_session_factory(engine))

    def ask(name: str) -> str:
        options = ShareOptions.model_validate({"audience": "named", "recipients": [name]})
        try:
            with crowd.unit_of_work() as session:
                asker = session.get_one(User, owner.id)
                crowd.shares(session).create(asker, [file], options, route="POST /shares")
        except AppError as error:
            return error.code
        return "made"

    assert named(client, owner, str(file), *guesses(1)).status_code == 404
    counter = AttemptKeys.of(account="", network=f"user:{owner.id}").address
    names = [*guesses(80), *[stranger.email] * 20]
    with time_machine.travel(clock.now(), tick=False), ThreadPoolExecutor(many) as threads:
        with hold_until_blocked(engine, "SELECT 1 FROM sign_in_attempt WHERE key = :key FOR UPDATE", {"key": counter}, count=many):
            answers = [threads.submit(ask, name) for name in random.sample(names, many)]
        told = Counter(answer.result() for answer in answers)
    engine.dispose()

    print(told)
    # The first that is not free is answered, and the next waits.
    assert told["recipient_not_found"] == FREE_ATTEMPTS_PER_ADDRESS
    assert told["recipient_not_found"] + told["too_many_attempts"] + told["made"] == many
    assert counted(services, owner) == FREE_ATTEMPTS_PER_ADDRESS + 1


def test_too_many_links_are_refused(client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_service, "SHARES_PER_USER", 2)
    file = make_file(client, owner)["id"]
    first = make_share(client, owner, file)
    make_share(client, owner, file)

    refused = client.post(SHARES, json={"file_ids": [file]}, headers=owner.headers)

    assert_problem(refused, 409, "too_many_shares")
    client.delete(f"{SHARES}/{first['id']}", headers=owner.headers)
    make_share(client, owner, file)


def test_repeated_request_with_a_key_leads_to_the_same_link(client: httpx.Client, owner: Account) -> None:
    file, key = make_file(client, owner)["id"], {"Idempotency-Key": str(uuid4())}
    wanted = {"file_ids": [file], "password": "swordfish"}

    answers = [client.post(SHARES, json=wanted, headers=owner.headers | key) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert len(client.get(SHARES, headers=owner.headers).json()) == 1
    for other in ({**wanted, "password": "swordfisch"}, {**wanted, "max_downloads": 1}):
        assert_problem(client.post(SHARES, json=other, headers=owner.headers | key), 422, "idempotency_key_reused")
    client.delete(f"{SHARES}/{answers[0].json()['id']}", headers=owner.headers)
    assert_problem(client.post(SHARES, json=wanted, headers=owner.headers | key), 410, "idempotent_share_gone")


class Rotating:
    """Services whose signing keys can be rotated, and the requests of one user to them."""

    def __init__(self, services: Services, owner: Account, file: str) -> None:
        self.ring = KeyRing(current=SigningKey.generate(), next=SigningKey.generate())
        self.services = replace(services, keys=SigningKeys(self.document, cache_seconds=0))
        self._owner, self._file = owner, UUID(file)

    def document(self) -> str:
        """Return the keys as they are now."""
        return self.ring.render()

    def ask(self, key: str, password: str | None) -> str:
        """Make a link and return its token."""
        with self.services.unit_of_work() as session:
            user, shares = session.get_one(User, self._owner.id), self.services.shares(session)
            return shares.create(user, [self._file], ShareOptions(password=password), route="POST /shares", idempotency_key=key).address

    def die(self, key: str, password: str) -> None:
        """Begin to make one and come no further."""
        with self.services.unit_of_work() as session:
            user, shares = session.get_one(User, self._owner.id), self.services.shares(session)
            keyed = shares._keyed_request(user, "POST /shares", key, ShareOptions(password=password))
            assert IdempotencyService(IdempotencyRepository(session)).claim(keyed, uuid4()) is None

    def rotate(self) -> None:
        """Let the next key sign."""
        self.ring = self.ring.rotated()


def test_repeated_request_is_known_again_while_its_signing_key_is_believed(
    client: httpx.Client, services: Services, owner: Account
) -> None:
    rotating = Rotating(services, owner, make_file(client, owner)["id"])
    first, open_to_all = rotating.ask("a", "swordfish"), rotating.ask("b", None)

    rotating.rotate()
    assert (rotating.ask("a", "swordfish"), rotating.ask("b", None)) == (first, open_to_all)
    with pytest.raises(IdempotencyKeyReusedError):
        rotating.ask("a", "swordfisch")
    assert rotating.ask("c", "swordfish") not in (first, open_to_all)

    rotating.rotate()
    with pytest.raises(GoneError):
        rotating.ask("b", None)
    # What the password was compared by is gone with the key.
    with pytest.raises(IdempotencyKeyReusedError):
        rotating.ask("a", "swordfish")


def test_request_that_died_before_a_rotation_can_be_sent_again(client: httpx.Client, services: Services, owner: Account) -> None:
    rotating = Rotating(services, owner, make_file(client, owner)["id"])
    with time_machine.travel(clock.now(), tick=False) as traveller:
        rotating.die("k", "swordfish")
        traveller.shift(timedelta(seconds=LOCK_SECONDS + 1))
        rotating.rotate()

        with pytest.raises(IdempotencyKeyReusedError):
            rotating.ask("k", "swordfisch")
        assert len(rotating.ask("k", "swordfish")) == 22


def test_key_gives_no_token_to_another_user_file_or_key(client: httpx.Client, owner: Account, stranger: Account) -> None:
    key = {"Idempotency-Key": "the-same"}
    tokens = set()
    for account in (owner, stranger):
        for file in (make_file(client, account)["id"], make_file(client, account)["id"]):
            answer = client.post(f"/api/v1/files/{file}/shares", json={}, headers=account.headers | key)
            tokens.add(answer.json()["url"])

    assert len(tokens) == 4


def test_failed_request_gives_its_key_back(client: httpx.Client, owner: Account) -> None:
    pending, key = make_file(client, owner, status="pending")["id"], {"Idempotency-Key": str(uuid4())}

    for _ in range(2):
        assert_problem(client.post(SHARES, json={"file_ids": [pending]}, headers=owner.headers | key), 409, "file_not_available")


def test_absent_fields_stay_and_null_takes_a_limit_away(client: httpx.Client, owner: Account, stranger: Account) -> None:
    options = {"password": "swordfish", "expires_at": later(days=1), "max_downloads": 3, "note": "n"}
    made = make_share(client, owner, make_file(client, owner)["id"], **options)

    noted = change_share(client, owner, made, note="new")
    cleared = change_share(client, owner, made, password=None, expires_at=None, max_downloads=None, note=None)
    named = change_share(client, owner, made, audience="named", recipients=[stranger.email, owner.email])
    fewer = change_share(client, owner, made, recipients=[owner.email])

    unchanged = made | {"url": None, "note": "new", "updated_at": noted["updated_at"]}
    assert noted == unchanged
    assert noted["updated_at"] > made["updated_at"]
    assert (cleared["has_password"], cleared["expires_at"], cleared["max_downloads"], cleared["note"]) == (False, None, None, None)
    assert named["recipients"] == sorted([stranger.email, owner.email])
    assert fewer["recipients"] == [owner.email]
    assert client.get(f"{SHARES}/{made['id']}", headers=owner.headers).json() == fewer
    assert change_share(client, owner, made) == fewer


@pytest.mark.parametrize("field", ["audience", "recipients", "allows_download"])
def test_what_a_link_always_has_cannot_be_cleared(client: httpx.Client, owner: Account, field: str) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"])

    assert_problem(client.patch(f"{SHARES}/{made['id']}", json={field: None}, headers=owner.headers), 422)


@pytest.mark.parametrize("field", ["slug", "file_ids", "owner_id", "download_count", "revoked_at"])
def test_what_a_link_is_cannot_be_changed(client: httpx.Client, owner: Account, field: str) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"])

    assert_problem(client.patch(f"{SHARES}/{made['id']}", json={field: "x"}, headers=owner.headers), 422)


def test_revoked_link_stays_revoked(client: httpx.Client, owner: Account) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"])
    path = f"{SHARES}/{made['id']}"

    assert [client.delete(path, headers=owner.headers).status_code for _ in range(2)] == [204, 204]

    revoked_at = client.get(path, headers=owner.headers).json()["revoked_at"]
    assert revoked_at is not None
    assert_problem(client.patch(path, json={"note": "x"}, headers=owner.headers), 409, "share_revoked")
    assert_problem(client.get(made["url"]), 404, "link_not_found")
    assert client.get(path, headers=owner.headers).json()["revoked_at"] == revoked_at


def test_links_of_others_are_not_there(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"])
    path = f"{SHARES}/{made['id']}"

    for answer in (
        client.get(path, headers=stranger.headers),
        client.patch(path, json={"note": "x"}, headers=stranger.headers),
        client.patch(path, json={}, headers=stranger.headers),
        client.delete(path, headers=stranger.headers),
    ):
        assert_problem(answer, 404, "share_not_found")
    assert_unauthenticated(client.get(path))
    assert made["id"] not in client.get(SHARES, headers=stranger.headers).text
    assert change_share(client, admin, made, note="by the superuser")["note"] == "by the superuser"


def test_every_link_to_a_file_is_listed_and_revoked(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    file, other = make_file(client, owner)["id"], make_file(client, owner)["id"]
    alone, both, apart = (make_share(client, owner, *files) for files in ([file], [other, file], [other]))
    admins = make_share(client, admin, file)
    path = f"/api/v1/files/{file}/shares"

    assert [share["id"] for share in client.get(path, headers=owner.headers).json()] == [admins["id"], both["id"], alone["id"]]
    for method in ("GET", "DELETE"):
        assert_problem(client.request(method, path, headers=stranger.headers), 403, "file_forbidden")
        assert_problem(client.request(method, f"/api/v1/files/{uuid4()}/shares", headers=owner.headers), 404, "file_not_found")
    assert [client.delete(path, headers=owner.headers).status_code for _ in range(2)] == [204, 204]

    assert [client.get(share["url"]).status_code for share in (alone, both, admins, apart)] == [404, 404, 404, 200]


def test_lists_are_paged_by_cursor(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner)["id"]
    made = [make_share(client, owner, file)["id"] for _ in range(5)]

    for path in (SHARES, f"/api/v1/files/{file}/shares"):
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = client.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}, headers=owner.headers)
            seen += [share["id"] for share in page.json()]
            cursor = page.headers.get("x-next-cursor")
        assert seen == made[::-1]
        by_name = client.get("/api/v1/files", params={"limit": 1, "sort": "name"}, headers=owner.headers)
        make_file(client, owner)
        named = client.get("/api/v1/files", params={"limit": 1, "sort": "name"}, headers=owner.headers).headers["x-next-cursor"]
        assert by_name.status_code == 200
        assert_problem(client.get(path, params={"cursor": named}, headers=owner.headers), 422, "bad_cursor")


def test_changes_are_audited(client: httpx.Client, owner: Account, admin: Account) -> None:
    made = make_share(client, owner, make_file(client, owner)["id"])
    change_share(client, owner, made, password="swordfish", note="n")
    client.get(made["url"])
    client.delete(f"{SHARES}/{made['id']}", headers=owner.headers)

    events = client.get("/api/v1/admin/audit", params={"subject": f"share:{made['id']}"}, headers=admin.headers).json()

    assert [event["action"] for event in events] == ["share.revoked", "share.updated", "share.created"]
    assert events[1]["details"] == {"fields": ["note", "password"]}
    assert all(event["actor_id"] == str(owner.id) for event in events)


def test_link_of_a_file_that_is_gone_is_forgotten(client: httpx.Client, owner: Account, make_user: Callable[..., Account]) -> None:
    file, other = make_file(client, owner)["id"], make_file(client, owner)["id"]
    made = make_share(client, owner, file, other)

    client.delete(f"/api/v1/files/{file}", headers=owner.headers)

    assert client.get(f"{SHARES}/{made['id']}", headers=owner.headers).json()["file_ids"] == [other]
