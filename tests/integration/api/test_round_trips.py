"""Round trips per warm request, counted on the wire, within the design's budget; and that requests survive a dead connection."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import insert

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import File, User
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.sharing.shares import FILES_PER_SHARE, RECIPIENTS_PER_SHARE
from tests.support.accounts import Account, make_account, make_file, put_object, start_upload
from tests.support.gateway import GatewayTransport
from tests.support.pinning import assert_nothing_pins
from tests.support.problems import assert_problem
from tests.support.shares import make_share, proven
from tests.support.wire import Cut, WireProxy

FILES = "/api/v1/files"
SHARES = "/api/v1/shares"


class Wired(NamedTuple):
    """An API whose database connection passes a counting proxy."""

    client: httpx.Client
    proxy: WireProxy
    owner: Account
    services: Services


@pytest.fixture
def wired(settings: Settings, services: Services) -> Iterator[Wired]:
    url = settings.database_url.get_secret_value()
    with WireProxy(url) as proxy:
        counted = settings.model_copy(update={"database_url": SecretStr(proxy.url_for(url))})
        built = Services.build(counted)
        transport = GatewayTransport(GatewayHandler(create_app(counted, built)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client:
            yield Wired(client, proxy, make_account(client, built), built)
        built.engine.dispose()


def ask_get(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/{file['id']}", headers=owner.headers)


def ask_download(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/download/{file['id']}", headers=owner.headers)


def ask_list(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(FILES, headers=owner.headers)


def ask_upload(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/upload", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}, headers=owner.headers)


def ask_public_upload(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    body = {"filename": "a", "content_type": "a/b", "size_bytes": 1, "is_public": True}
    return client.post(f"{FILES}/upload", json=body, headers=owner.headers)


def ask_update(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}", json={"description": "new"}, headers=owner.headers)


def ask_delete(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.delete(f"{FILES}/{file['id']}", headers=owner.headers)


def ask_complete_again(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/{file['id']}/complete", headers=owner.headers)


def ask_me(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/users/me", headers=owner.headers)


def ask_sign_in(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})


def ask_refresh(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/refresh", json={"refresh_token": owner.refresh_token})


def ask_sign_out(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/logout", json={"refresh_token": owner.refresh_token})


def ask_sessions(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/users/me/sessions", headers=owner.headers)


def ask_share(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(SHARES, json={"file_ids": [file["id"]]}, headers=owner.headers)


def ask_shares(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(SHARES, headers=owner.headers)


def ask_archive(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/archives", json={"file_ids": [file["id"]]}, headers=owner.headers)


def ask_archives(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/archives", headers=owner.headers)


def ask_grant(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}/grants", json={"user_id": str(file["friend"])}, headers=owner.headers)


def ask_grant_by_email(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}/grants", json={"email": file["friend_email"]}, headers=owner.headers)


def ask_share_by_email(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    wanted = {"file_ids": [file["id"]], "audience": "named", "recipients": [file["friend_email"]]}
    return client.post(SHARES, json=wanted, headers=owner.headers)


def ask_grants(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/{file['id']}/grants", headers=owner.headers)


def ask_revoke(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    ask_grant(client, owner, file)
    return client.delete(f"{FILES}/{file['id']}/grants/{file['friend']}", headers=owner.headers)


def ask_shared(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(FILES, params={"shared": "with_me"}, headers=owner.headers)


def ask_public_link(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    answer = client.get(f"/p/{file['public']}")
    assert answer.status_code == 302
    return httpx.Response(200, request=answer.request)


def ask_file_request(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers)


def ask_keyed_file_request(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers | {"Idempotency-Key": "k"})


def ask_open_request(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"/r/{file['token']}")


def ask_guest_upload(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"/r/{file['token']}/files", json={"filename": "a", "content_type": "a/b", "size_bytes": 1})


BUDGET: dict[Callable[..., httpx.Response], int] = {
    ask_me: 1,
    ask_sign_in: 3,
    ask_refresh: 1,
    ask_sign_out: 2,
    ask_sessions: 2,
    ask_get: 2,
    ask_download: 2,
    ask_list: 2,
    ask_complete_again: 2,
    ask_upload: 2,
    ask_public_upload: 2,
    ask_share: 4,
    ask_shares: 2,
    ask_archive: 3,
    ask_archives: 2,
    ask_update: 3,
    ask_delete: 3,
}
SHARING_BUDGET: dict[Callable[..., httpx.Response], int] = {
    ask_grant: 2,
    ask_grant_by_email: 6,
    ask_share_by_email: 8,
    ask_grants: 2,
    ask_revoke: 4,  # two for the grant before it
    ask_shared: 2,
    ask_public_link: 1,
    ask_file_request: 2,
    ask_keyed_file_request: 3,
    ask_open_request: 1,
    ask_guest_upload: 1,
}


@pytest.mark.parametrize("ask", BUDGET)
def test_warm_request_stays_within_its_round_trips(wired: Wired, ask: Callable[..., httpx.Response]) -> None:
    file = make_file(wired.client, wired.owner)

    with wired.proxy.count() as counted:
        answer = ask(wired.client, wired.owner, file)

    assert answer.is_success, answer.text
    assert counted.round_trips == BUDGET[ask], counted.statements
    assert counted.connections == 0


@pytest.mark.parametrize("ask", SHARING_BUDGET)
def test_warm_request_of_sharing_stays_within_its_round_trips(wired: Wired, ask: Callable[..., httpx.Response]) -> None:
    client, owner = wired.client, wired.owner
    friend = make_account(client, wired.services)
    token = client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers).json()["token"]
    public = make_file(client, owner, is_public=True)["id"]
    file = make_file(client, owner) | {"friend": friend.id, "friend_email": friend.email, "public": public, "token": token}

    with wired.proxy.count() as counted:
        answer = ask(client, owner, file)

    assert answer.is_success, answer.text
    assert counted.round_trips == SHARING_BUDGET[ask], counted.statements


def test_largest_link_is_made_by_statements_that_do_not_pin(wired: Wired) -> None:
    people = [{"id": uuid4(), "email": f"{uuid4()}@{'x' * 60}.example.com", "hashed_password": "x"} for _ in range(RECIPIENTS_PER_SHARE)]
    fields = {"owner_id": wired.owner.id, "filename": "a", "content_type": "a/b", "size_bytes": 0, "status": "available"}
    fields["upload_expires_at"] = clock.now()
    files = [fields | {"id": uuid4(), "s3_key": f"uploads/{uuid4()}"} for _ in range(FILES_PER_SHARE)]
    with wired.services.engine.begin() as connection:
        connection.execute(insert(User), people)
        for file in files:
            connection.execute(insert(File), [file])
    names = [str(person["email"]) for person in people]

    with wired.proxy.count() as counted:
        wanted = {"file_ids": [str(file["id"]) for file in files], "audience": "named", "recipients": names}
        made = wired.client.post(SHARES, json=wanted, headers=wired.owner.headers)
        changed = wired.client.patch(f"{SHARES}/{made.json()['id']}", json={"recipients": names[1:]}, headers=wired.owner.headers)

    assert (made.status_code, changed.status_code) == (201, 200)
    assert counted.round_trips == 14
    assert_nothing_pins(counted.messages)


def test_completion_stays_within_its_round_trips(wired: Wired) -> None:
    upload = start_upload(wired.client, wired.owner)
    put_object(upload, b"hello")

    with wired.proxy.count() as counted:
        answer = wired.client.post(f"{FILES}/{upload['file_id']}/complete", headers=wired.owner.headers)

    assert answer.json()["status"] == "available"
    assert counted.round_trips == 3, counted.statements


def test_share_links_stay_within_their_round_trips(wired: Wired) -> None:
    file = make_file(wired.client, wired.owner)
    share = make_share(wired.client, wired.owner, file["id"], password="swordfish", max_downloads=5)
    address = f"{SHARES}/{share['id']}"
    given = proven(wired.client, share, "swordfish")
    trips = {}

    def count(name: str, status: int, method: str, url: str, **parameters: Any) -> None:
        with wired.proxy.count() as counted:
            answer = wired.client.request(method, url, **parameters)
        assert answer.status_code == status, answer.text
        trips[name] = counted.round_trips

    count("open", 200, "GET", share["url"], headers=given)
    count("look at", 200, "HEAD", share["url"], headers=given)
    count("download", 302, "GET", f"{share['url']}/files/{file['id']}", headers=given)
    count("resume", 302, "GET", f"{share['url']}/files/{file['id']}", headers=given | {"Range": "bytes=1-"})
    count("open, signed in", 200, "GET", share["url"], headers=given | wired.owner.headers)
    count("prove", 200, "POST", share["url"], json={"password": "swordfish"})
    change = {"audience": "signed_in"}
    count("change", 200, "PATCH", address, json=change, headers=wired.owner.headers)
    form = {"email": wired.owner.email, "account_password": wired.owner.password}
    count("sign in", 200, "POST", share["url"], json=form)
    wired.client.patch(address, json={"audience": "anyone"}, headers=wired.owner.headers)
    count("refuse", 403, "GET", share["url"])
    count("close", 404, "GET", "/s/none")
    count("name", 200, "PATCH", address, json={"recipients": [wired.owner.email]}, headers=wired.owner.headers)
    count("revoke", 204, "DELETE", address, headers=wired.owner.headers)

    assert trips == {
        "open": 1, "look at": 1, "download": 1, "resume": 1, "open, signed in": 2, "prove": 3, "sign in": 3, "refuse": 2, "close": 2,
        "change": 2, "name": 6, "revoke": 2,
    }  # fmt: skip


def test_api_key_is_one_round_trip_and_its_use_one_more_in_the_first_hour(wired: Wired) -> None:
    body = {"name": "script", "scopes": ["files:read"]}
    key = wired.client.post("/api/v1/users/me/api-keys", json=body, headers=wired.owner.headers).json()["key"]
    trips = []
    for _ in range(3):
        with wired.proxy.count() as counted:
            assert wired.client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        trips.append(counted.round_trips)

    assert trips == [2, 1, 1]


def test_mistyped_api_key_costs_no_round_trip(wired: Wired) -> None:
    with wired.proxy.count() as counted:
        assert_problem(wired.client.get("/api/v1/users/me", headers={"Authorization": f"Bearer wup_{'x' * 49}"}), 401)

    assert counted.round_trips == 0


def test_reading_request_opens_no_transaction(wired: Wired) -> None:
    file = make_file(wired.client, wired.owner)

    with wired.proxy.count() as counted:
        ask_get(wired.client, wired.owner, file)

    assert all(statement.startswith("SELECT") for statement in counted.statements)


def test_liveness_and_refused_tokens_cost_no_round_trip(wired: Wired) -> None:
    with wired.proxy.count() as counted:
        assert wired.client.get("/health").status_code == 200
        assert_problem(wired.client.get("/api/v1/users/me"), 401)
        assert_problem(wired.client.get("/api/v1/users/me", headers={"Authorization": "Bearer x"}), 401)
        assert_problem(wired.client.get("/nowhere"), 404)

    assert counted.round_trips == 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("ask", [ask_me, ask_sign_in, ask_get, ask_upload, ask_update, ask_delete])
def test_request_after_the_idle_connection_died_succeeds(wired: Wired, ask: Callable[..., httpx.Response], reset: bool) -> None:
    file = make_file(wired.client, wired.owner)
    wired.proxy.kill_all(reset=reset)

    answer = ask(wired.client, wired.owner, file)

    assert answer.is_success, answer.text


def test_registration_after_the_idle_connection_died_succeeds(wired: Wired) -> None:
    wired.proxy.kill_all()

    answer = wired.client.post("/api/v1/users/", json={"email": f"late-{wired.owner.id}@example.com", "password": "a good password"})

    assert answer.status_code == 201


@pytest.mark.parametrize("where", [Cut.BEFORE, Cut.AFTER])
def test_lost_commit_is_never_answered_with_success(wired: Wired, where: Cut) -> None:
    """A dependency that commits behind the answer would answer 200 here."""
    file = make_file(wired.client, wired.owner)
    wired.proxy.cut(where, at_flush=3)  # after the user's row and the file's

    answer = ask_update(wired.client, wired.owner, file)

    assert_problem(answer, 503)
    # Cut off before the server read it, the change was undone; behind it, nobody can know.
    if where is Cut.BEFORE:
        assert ask_get(wired.client, wired.owner, file).json() == file


def test_database_that_went_away_is_503_and_comes_back(wired: Wired) -> None:
    wired.proxy.is_refusing = True
    wired.proxy.kill_all()

    assert_problem(ask_me(wired.client, wired.owner, {}), 503)

    wired.proxy.is_refusing = False
    assert ask_me(wired.client, wired.owner, {}).status_code == 200
