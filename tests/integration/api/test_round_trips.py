"""Database round trips of each warm request, counted by a proxy, against the budget of the design. Requests survive a lost connection."""

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
from tests.support.shares import make_share, share_pass_header
from tests.support.wire import Cut, WireProxy

FILES = "/api/v1/files"
SHARES = "/api/v1/shares"


class ProxiedApi(NamedTuple):
    """An API whose database connection goes through a proxy that counts round trips."""

    client: httpx.Client
    proxy: WireProxy
    owner: Account
    services: Services


@pytest.fixture
def api(settings: Settings, services: Services) -> Iterator[ProxiedApi]:
    url = settings.database_url.get_secret_value()
    with WireProxy(url) as proxy:
        proxied = settings.model_copy(update={"database_url": SecretStr(proxy.url_for(url))})
        built = Services.build(proxied)
        transport = GatewayTransport(GatewayHandler(create_app(proxied, built)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client:
            yield ProxiedApi(client, proxy, make_account(built), built)
        built.engine.dispose()


def get_file(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/{file['id']}", headers=owner.headers)


def download_file(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/download/{file['id']}", headers=owner.headers)


def list_files(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(FILES, headers=owner.headers)


def request_upload(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/upload", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}, headers=owner.headers)


def request_public_upload(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    body = {"filename": "a", "content_type": "a/b", "size_bytes": 1, "is_public": True}
    return client.post(f"{FILES}/upload", json=body, headers=owner.headers)


def update_file(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}", json={"description": "new"}, headers=owner.headers)


def delete_file(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.delete(f"{FILES}/{file['id']}", headers=owner.headers)


def repeat_completion(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/{file['id']}/complete", headers=owner.headers)


def get_me(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/users/me", headers=owner.headers)


def sign_in(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})


def refresh(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/refresh", json={"refresh_token": owner.refresh_token})


def repeat_refresh(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    assert refresh(client, owner, _file).is_success
    return refresh(client, owner, _file)


PAGE = {"Origin": "https://api.test", "X-We-Upload-Session": "1"}


def start_session(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/session", json={"email": owner.email, "password": owner.password}, headers=PAGE)


def refresh_session(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    cookie = f"__Host-we-upload-session={owner.refresh_token}"
    return client.post("/api/v1/session/refresh", headers=PAGE | {"Cookie": cookie})


def sign_out(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/login/logout", json={"refresh_token": owner.refresh_token})


def list_sessions(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/users/me/sessions", headers=owner.headers)


def create_share(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(SHARES, json={"file_ids": [file["id"]]}, headers=owner.headers)


def list_shares(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(SHARES, headers=owner.headers)


def create_archive(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/archives", json={"file_ids": [file["id"]]}, headers=owner.headers)


def list_events(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/events", headers=owner.headers)


def list_archives(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get("/api/v1/archives", headers=owner.headers)


def create_grant(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}/grants", json={"user_id": str(file["friend"])}, headers=owner.headers)


def create_grant_by_email(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}/grants", json={"email": file["friend_email"]}, headers=owner.headers)


def create_share_by_email(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    body = {"file_ids": [file["id"]], "audience": "named", "recipients": [file["friend_email"]]}
    return client.post(SHARES, json=body, headers=owner.headers)


def list_grants(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"{FILES}/{file['id']}/grants", headers=owner.headers)


def revoke_grant(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    create_grant(client, owner, file)
    return client.delete(f"{FILES}/{file['id']}/grants/{file['friend']}", headers=owner.headers)


def list_shared_files(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.get(FILES, params={"shared": "with_me"}, headers=owner.headers)


def open_public_link(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    response = client.get(f"/p/{file['public']}")
    assert response.status_code == 302
    return httpx.Response(200, request=response.request)


def create_file_request(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers)


def create_file_request_with_key(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers | {"Idempotency-Key": "k"})


def open_file_request(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.get(f"/r/{file['token']}")


def start_public_upload(client: httpx.Client, _owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"/r/{file['token']}/files", json={"filename": "a", "content_type": "a/b", "size_bytes": 1})


def start_uploads(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    body = {"files": [{"filename": "a", "content_type": "a/b", "size_bytes": 1, "is_public": number % 2 == 0} for number in range(100)]}
    return client.post(f"{FILES}/uploads", json=body, headers=owner.headers)


def start_uploads_with_key(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    body = {"files": [{"filename": "a", "content_type": "a/b", "size_bytes": 1}] * 100}
    return client.post(f"{FILES}/uploads", json=body, headers=owner.headers | {"Idempotency-Key": "k"})


def list_statuses(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/status", json={"file_ids": _ids(file)}, headers=owner.headers)


def complete_files(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/complete", json={"file_ids": _ids(file)}, headers=owner.headers)


def download_files(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/downloads", json={"file_ids": _ids(file)}, headers=owner.headers)


def delete_files(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/delete", json={"file_ids": [file["id"]]}, headers=owner.headers)


def publish_files(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/visibility", json={"file_ids": [file["id"]], "is_public": True}, headers=owner.headers)


def publish_files_of_others(client: httpx.Client, owner: Account, file: dict[str, Any]) -> httpx.Response:
    return client.post(f"{FILES}/visibility", json={"file_ids": _ids(file), "is_public": True}, headers=owner.headers)


def empty_trash(client: httpx.Client, owner: Account, _file: dict[str, Any]) -> httpx.Response:
    return client.delete(f"{FILES}/trash", headers=owner.headers)


def _ids(file: dict[str, Any]) -> list[str]:
    return [file["id"], *(str(uuid4()) for _ in range(99))]


BUDGET: dict[Callable[..., httpx.Response], int] = {
    get_me: 1,
    sign_in: 3,
    refresh: 1,
    start_session: 3,
    refresh_session: 1,
    repeat_refresh: 4,  # includes one for the exchange; of the three for its repetition, one is the audit event of the first repetition
    sign_out: 2,
    list_sessions: 2,
    get_file: 1,
    download_file: 1,
    list_files: 1,
    repeat_completion: 2,
    request_upload: 1,
    request_public_upload: 1,
    start_uploads: 2,
    start_uploads_with_key: 2,
    list_statuses: 2,
    complete_files: 3,
    download_files: 2,
    delete_files: 3,
    publish_files: 2,
    publish_files_of_others: 3,  # includes one for the reasons of the refusals
    empty_trash: 2,
    create_share: 4,
    list_shares: 2,
    create_archive: 3,
    list_archives: 2,
    list_events: 1,
    update_file: 3,
    delete_file: 3,
}
SHARING_BUDGET: dict[Callable[..., httpx.Response], int] = {
    # Grants and file requests have exact limits: the file or the owner is locked by one statement and the rows are counted by the next,
    # because a statement that waits for a lock does not see what was committed meanwhile. Two more trips: the lock and the commit.
    create_grant: 4,
    create_grant_by_email: 8,
    create_share_by_email: 8,
    list_grants: 2,
    revoke_grant: 6,  # includes four for the grant
    list_shared_files: 1,
    open_public_link: 1,
    create_file_request: 4,
    create_file_request_with_key: 5,
    open_file_request: 1,
    start_public_upload: 1,
}


@pytest.mark.parametrize("send", BUDGET)
def test_warm_request_stays_within_its_budget(api: ProxiedApi, send: Callable[..., httpx.Response]) -> None:
    file = make_file(api.client, api.owner)

    with api.proxy.count() as counted:
        response = send(api.client, api.owner, file)

    assert response.is_success, response.text
    assert counted.round_trips == BUDGET[send], counted.statements
    assert counted.connections == 0
    assert_nothing_pins(counted.messages)


@pytest.mark.parametrize("send", SHARING_BUDGET)
def test_warm_sharing_request_stays_within_its_budget(api: ProxiedApi, send: Callable[..., httpx.Response]) -> None:
    client, owner = api.client, api.owner
    friend = make_account(api.services)
    token = client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers).json()["token"]
    public = make_file(client, owner, is_public=True)["id"]
    file = make_file(client, owner) | {"friend": friend.id, "friend_email": friend.email, "public": public, "token": token}

    with api.proxy.count() as counted:
        response = send(client, owner, file)

    assert response.is_success, response.text
    assert counted.round_trips == SHARING_BUDGET[send], counted.statements


def test_largest_share_uses_only_statements_that_do_not_pin(api: ProxiedApi) -> None:
    people = [{"id": uuid4(), "email": f"{uuid4()}@{'x' * 60}.example.com", "hashed_password": "x"} for _ in range(RECIPIENTS_PER_SHARE)]
    fields = {"owner_id": api.owner.id, "filename": "a", "content_type": "a/b", "size_bytes": 0, "status": "available"}
    fields["upload_expires_at"] = clock.now()
    files = [fields | {"id": uuid4(), "s3_key": f"uploads/{uuid4()}"} for _ in range(FILES_PER_SHARE)]
    with api.services.engine.begin() as connection:
        connection.execute(insert(User), people)
        for file in files:
            connection.execute(insert(File), [file])
    names = [str(person["email"]) for person in people]

    with api.proxy.count() as counted:
        body = {"file_ids": [str(file["id"]) for file in files], "audience": "named", "recipients": names}
        created = api.client.post(SHARES, json=body, headers=api.owner.headers)
        changed = api.client.patch(f"{SHARES}/{created.json()['id']}", json={"recipients": names[1:]}, headers=api.owner.headers)

    assert (created.status_code, changed.status_code) == (201, 200)
    assert counted.round_trips == 17
    assert_nothing_pins(counted.messages)


def test_completion_stays_within_its_budget(api: ProxiedApi) -> None:
    upload = start_upload(api.client, api.owner)
    put_object(upload, b"hello")

    with api.proxy.count() as counted:
        response = api.client.post(f"{FILES}/{upload['file_id']}/complete", headers=api.owner.headers)

    assert response.json()["status"] == "available"
    assert counted.round_trips == 3, counted.statements


def test_share_link_requests_stay_within_their_budget(api: ProxiedApi) -> None:
    file = make_file(api.client, api.owner)
    share = make_share(api.client, api.owner, file["id"], password="swordfish", max_downloads=5)
    address = f"{SHARES}/{share['id']}"
    share_pass = share_pass_header(api.client, share, "swordfish")
    trips = {}

    def count(name: str, status: int, method: str, url: str, **parameters: Any) -> None:
        with api.proxy.count() as counted:
            response = api.client.request(method, url, **parameters)
        assert response.status_code == status, response.text
        trips[name] = counted.round_trips

    count("open", 200, "GET", share["url"], headers=share_pass)
    count("head", 200, "HEAD", share["url"], headers=share_pass)
    count("download", 302, "GET", f"{share['url']}/files/{file['id']}", headers=share_pass)
    count("download, signed in", 302, "GET", f"{share['url']}/files/{file['id']}", headers=share_pass | api.owner.headers)
    count("resume", 302, "GET", f"{share['url']}/files/{file['id']}", headers=share_pass | {"Range": "bytes=1-"})
    count("open, signed in", 200, "GET", share["url"], headers=share_pass | api.owner.headers)
    count("password", 200, "POST", share["url"], json={"password": "swordfish"})
    change = {"audience": "signed_in"}
    count("change", 200, "PATCH", address, json=change, headers=api.owner.headers)
    form = {"email": api.owner.email, "account_password": api.owner.password}
    count("sign in", 200, "POST", share["url"], json=form)
    api.client.patch(address, json={"audience": "anyone"}, headers=api.owner.headers)
    count("refuse", 403, "GET", share["url"])
    count("not found", 404, "GET", "/s/none")
    # The link is locked before its recipients are replaced, so that concurrent changes replace each other.
    count("recipients", 200, "PATCH", address, json={"recipients": [api.owner.email]}, headers=api.owner.headers)
    count("revoke", 204, "DELETE", address, headers=api.owner.headers)

    assert trips == {
        "open": 1, "head": 1, "download": 1, "download, signed in": 1,
        "resume": 1, "open, signed in": 2, "password": 3, "sign in": 3, "refuse": 2, "not found": 2,
        # After a change of the recipients, the link is read again: the statement does not see which of them are pending.
        "change": 2, "recipients": 9, "revoke": 2,
    }  # fmt: skip


def test_api_key_takes_one_round_trip_and_once_an_hour_another_for_its_use(api: ProxiedApi) -> None:
    body = {"name": "script", "scopes": ["files:read"]}
    key = api.client.post("/api/v1/users/me/api-keys", json=body, headers=api.owner.headers).json()["key"]
    trips = []
    for _ in range(3):
        with api.proxy.count() as counted:
            assert api.client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        trips.append(counted.round_trips)

    assert trips == [2, 1, 1]


def test_malformed_api_key_takes_no_round_trip(api: ProxiedApi) -> None:
    with api.proxy.count() as counted:
        assert_problem(api.client.get("/api/v1/users/me", headers={"Authorization": f"Bearer wup_{'x' * 49}"}), 401)

    assert counted.round_trips == 0


def test_read_request_opens_no_transaction(api: ProxiedApi) -> None:
    file = make_file(api.client, api.owner)

    with api.proxy.count() as counted:
        get_file(api.client, api.owner, file)

    assert all(statement.startswith("SELECT") for statement in counted.statements)


def test_liveness_and_refused_tokens_take_no_round_trip(api: ProxiedApi) -> None:
    with api.proxy.count() as counted:
        assert api.client.get("/health").status_code == 200
        assert_problem(api.client.get("/api/v1/users/me"), 401)
        assert_problem(api.client.get("/api/v1/users/me", headers={"Authorization": "Bearer x"}), 401)
        assert_problem(api.client.get("/nowhere"), 404)

    assert counted.round_trips == 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("send", [get_me, sign_in, get_file, request_upload, update_file, delete_file])
def test_request_after_the_idle_connection_was_lost_succeeds(api: ProxiedApi, send: Callable[..., httpx.Response], reset: bool) -> None:
    file = make_file(api.client, api.owner)
    api.proxy.kill_all(reset=reset)

    response = send(api.client, api.owner, file)

    assert response.is_success, response.text


def test_registration_after_the_idle_connection_was_lost_succeeds(api: ProxiedApi) -> None:
    api.proxy.kill_all()

    response = api.client.post("/api/v1/users/", json={"email": f"late-{api.owner.id}@example.com", "password": "a good password"})

    assert response.status_code == 201


@pytest.mark.parametrize("where", [Cut.BEFORE, Cut.AFTER])
def test_lost_commit_never_returns_success(api: ProxiedApi, where: Cut) -> None:
    """A dependency that commits after the response was sent would return 200 here."""
    file = make_file(api.client, api.owner)
    api.proxy.cut(where, at_flush=3)  # after the queries for the user and the file

    response = update_file(api.client, api.owner, file)

    assert_problem(response, 503)
    # If the connection ends before the server reads the commit, the change is rolled back. Afterwards the outcome is unknown.
    if where is Cut.BEFORE:
        assert get_file(api.client, api.owner, file).json() == file


def test_unavailable_database_returns_503_until_it_is_back(api: ProxiedApi) -> None:
    api.proxy.is_refusing = True
    api.proxy.kill_all()

    assert_problem(get_me(api.client, api.owner, {}), 503)

    api.proxy.is_refusing = False
    assert get_me(api.client, api.owner, {}).status_code == 200
