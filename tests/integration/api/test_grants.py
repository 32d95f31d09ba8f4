"""Grants: permissions of viewers and editors, revocation, and what address lookups reveal."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, insert, text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.settings import Settings
from lambda_app.db.engine import create_database_engine
from lambda_app.db.session import create_session_factory
from lambda_app.factory import Services
from lambda_app.models import File, FileGrant, FileStatus, User
from lambda_app.models.sharing.grants import GRANTS_PER_FILE
from lambda_app.repositories.accounts.sign_in_attempts import FREE_ATTEMPTS_PER_ADDRESS
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.files.files import FileUpdate
from lambda_app.schemas.sharing.grants import GrantCreate
from lambda_app.services.sharing.grants import GrantNotFoundError
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem, assert_unauthenticated

FILES = "/api/v1/files"
MakeUser = Callable[..., Account]


@pytest.fixture
def friend(make_user: MakeUser) -> Account:
    return make_user()


def grant(client: httpx.Client, granter: Account, file: dict[str, Any], **parameters: str) -> httpx.Response:
    return client.put(f"{FILES}/{file['id']}/grants", json=parameters, headers=granter.headers)


def grant_successfully(
    client: httpx.Client, granter: Account, file: dict[str, Any], grantee: Account, role: str = "viewer"
) -> dict[str, Any]:
    response = grant(client, granter, file, user_id=str(grantee.id), role=role)
    assert response.status_code == 200, response.text
    created: dict[str, Any] = response.json()
    return created


def can_read(client: httpx.Client, account: Account, file: dict[str, Any]) -> bool:
    responses = [client.get(f"{FILES}/{path}{file['id']}", headers=account.headers) for path in ("", "download/")]
    statuses = {response.status_code for response in responses}
    assert len(statuses) == 1
    return statuses == {200}


def set_columns(services: Services, model: Any, row_id: Any, **values: Any) -> None:
    with services.unit_of_work() as session:
        session.query(model).filter(model.id == row_id).update(values)


def audit_events_of(services: Services, file_id: str) -> list[tuple[str, str, str]]:
    with services.engine.begin() as connection:
        query = text(
            "SELECT action, actor_id::text, details FROM audit_event WHERE subject = :subject AND action LIKE 'file.%shared' ORDER BY seq"
        )
        return [tuple(row) for row in connection.execute(query, {"subject": f"file:{file_id}"})]


# --- permissions of the roles -------------------------------------------------------------------------------------------


def test_viewer_can_read_and_cannot_change(client: httpx.Client, owner: Account, friend: Account, stranger: Account) -> None:
    file = make_file(client, owner)
    assert not can_read(client, friend, file)

    created = grant_successfully(client, owner, file, friend)

    assert created | {"created_at": "", "updated_at": ""} == {
        "file_id": file["id"],
        "user_id": str(friend.id),
        "email": None,
        "role": "viewer",
        "is_pending": False,
        "created_at": "",
        "updated_at": "",
    }
    assert can_read(client, friend, file)
    assert not can_read(client, stranger, file)
    path = f"{FILES}/{file['id']}"
    for response in (
        client.put(path, json={"description": "x"}, headers=friend.headers),
        client.put(path, json={}, headers=friend.headers),
        client.delete(path, headers=friend.headers),
        client.post(f"{path}/complete", headers=friend.headers),
        client.post(f"{path}/restore", headers=friend.headers),
        client.get(f"{path}/parts", headers=friend.headers),
        grant(client, friend, file, user_id=str(stranger.id)),
        client.delete(f"{path}/grants/{stranger.id}", headers=friend.headers),
    ):
        assert_problem(response, 403, "file_forbidden")


def test_editor_can_change_only_name_and_description(client: httpx.Client, owner: Account, friend: Account, stranger: Account) -> None:
    file = make_file(client, owner)
    grant_successfully(client, owner, file, friend, "editor")
    path = f"{FILES}/{file['id']}"

    changed = client.put(path, json={"filename": "better.txt", "description": "new"}, headers=friend.headers)

    assert changed.status_code == 200
    assert client.get(path, headers=owner.headers).json() == changed.json()
    assert (changed.json()["filename"], changed.json()["description"]) == ("better.txt", "new")
    for response in (
        client.put(path, json={"is_public": True}, headers=friend.headers),
        client.put(path, json={"filename": "x", "is_public": False}, headers=friend.headers),
        client.delete(path, headers=friend.headers),
        client.delete(f"{path}?permanent=true", headers=friend.headers),
        client.post(f"{path}/complete", headers=friend.headers),
        grant(client, friend, file, user_id=str(stranger.id)),
        grant(client, friend, file, user_id=str(friend.id), role="editor"),
    ):
        assert_problem(response, 403, "file_forbidden")
    assert client.get(path, headers=owner.headers).json()["is_public"] is False
    tag = {"If-Match": '"999"'}
    assert_problem(client.put(path, json={"description": "y"}, headers=friend.headers | tag), 412, "file_changed")


def test_repeated_grant_changes_the_role_of_one_grant(client: httpx.Client, services: Services, owner: Account, friend: Account) -> None:
    file = make_file(client, owner)
    path = f"{FILES}/{file['id']}"
    for role, status in (("editor", 200), ("editor", 200), ("viewer", 403)):
        grant_successfully(client, owner, file, friend, role)
        assert client.put(path, json={"description": role}, headers=friend.headers).status_code == status

    list_names = client.get(f"{path}/grants", headers=owner.headers).json()

    assert [(row["user_id"], row["role"]) for row in list_names] == [(str(friend.id), "viewer")]
    assert [event[0] for event in audit_events_of(services, file["id"])] == ["file.shared"] * 3


@pytest.mark.parametrize("status", [status for status in FileStatus if status is not FileStatus.AVAILABLE])
def test_grantees_see_only_available_files(
    client: httpx.Client, services: Services, owner: Account, friend: Account, status: FileStatus
) -> None:
    file = make_file(client, owner)
    grant_successfully(client, owner, file, friend, "editor")
    set_columns(services, File, file["id"], status=status)

    expected = (404, "file_not_found") if status is FileStatus.DELETING else (403, "file_forbidden")
    for response in (
        client.get(f"{FILES}/{file['id']}", headers=friend.headers),
        client.get(f"{FILES}/download/{file['id']}", headers=friend.headers),
        client.put(f"{FILES}/{file['id']}", json={"description": "x"}, headers=friend.headers),
    ):
        assert_problem(response, *expected)
    assert client.get(FILES, params={"shared": "with_me"}, headers=friend.headers).json() == []
    set_columns(services, File, file["id"], status=FileStatus.AVAILABLE)
    assert can_read(client, friend, file)


def test_file_of_a_disabled_owner_is_not_accessible_to_grantees(
    client: httpx.Client, services: Services, make_user: MakeUser, friend: Account
) -> None:
    owner = make_user()
    file = make_file(client, owner, is_public=True)
    grant_successfully(client, owner, file, friend)
    set_columns(services, User, owner.id, is_active=False)

    assert not can_read(client, friend, file)
    assert client.get(FILES, params={"shared": "with_me"}, headers=friend.headers).json() == []
    assert_problem(client.get(file["public_path"]), 404, "file_not_found")
    assert_unauthenticated(client.get(f"{FILES}/download/{file['id']}"))


# --- revocation --------------------------------------------------------------------------------------------------


def test_revoked_grant_is_refused_on_the_next_request(client: httpx.Client, services: Services, owner: Account, friend: Account) -> None:
    file = make_file(client, owner)
    grant_successfully(client, owner, file, friend, "editor")
    path = f"{FILES}/{file['id']}"

    assert client.delete(f"{path}/grants/{friend.id}", headers=owner.headers).status_code == 204

    assert not can_read(client, friend, file)
    assert_problem(client.put(path, json={"description": "x"}, headers=friend.headers), 403, "file_forbidden")
    assert_problem(client.get(f"{path}/grants", headers=friend.headers), 403, "file_forbidden")
    assert_problem(client.delete(f"{path}/grants/{friend.id}", headers=owner.headers), 404, "grant_not_found")
    details = {"user_id": str(friend.id), "role": "editor", "owner_id": str(owner.id), "is_pending": False}
    assert [(action, actor, json.loads(text)) for action, actor, text in audit_events_of(services, file["id"])] == [
        ("file.shared", str(owner.id), details),
        ("file.unshared", str(owner.id), details),
    ]


def test_grantee_can_revoke_only_their_own_grant(client: httpx.Client, owner: Account, friend: Account, make_user: MakeUser) -> None:
    file, other = make_file(client, owner), make_user()
    grant_successfully(client, owner, file, friend)
    grant_successfully(client, owner, file, other)
    path = f"{FILES}/{file['id']}/grants"

    assert_problem(client.delete(f"{path}/{other.id}", headers=friend.headers), 403, "file_forbidden")
    assert client.delete(f"{path}/{friend.id}", headers=friend.headers).status_code == 204

    assert not can_read(client, friend, file)
    assert can_read(client, other, file)
    assert_problem(client.delete(f"{path}/{friend.id}", headers=friend.headers), 403, "file_forbidden")


def test_grants_are_deleted_with_their_file_or_user(client: httpx.Client, services: Services, owner: Account, make_user: MakeUser) -> None:
    deleted, remaining = make_file(client, owner), make_file(client, owner)
    leaver, friend = make_user(), make_user()
    for file in (deleted, remaining):
        grant_successfully(client, owner, file, leaver)
        grant_successfully(client, owner, file, friend)

    client.delete(f"{FILES}/{deleted['id']}", headers=owner.headers)
    with services.engine.begin() as connection:
        connection.execute(delete(User).where(User.id == leaver.id))

    with services.unit_of_work() as session:
        rows = session.query(FileGrant).filter(FileGrant.owner_id == owner.id).all()
    assert [(str(row.file_id), row.user_id) for row in rows] == [(remaining["id"], friend.id)]


# --- who can grant, and to whom --------------------------------------------------------------------------------------


def test_grant_on_another_users_file_is_refused(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    file = make_file(client, owner, is_public=True)

    # The permission is checked before the address is looked up.
    for parameters in ({"user_id": str(stranger.id)}, {"email": stranger.email}, {"email": "nobody@example.com"}):
        assert_problem(grant(client, stranger, file, **parameters), 403, "file_forbidden")
    assert_problem(client.get(f"{FILES}/{file['id']}/grants", headers=stranger.headers), 403, "file_forbidden")
    unknown_file = {"id": str(uuid4())}
    assert_problem(grant(client, owner, unknown_file, user_id=str(stranger.id)), 404, "file_not_found")
    assert_problem(grant(client, owner, unknown_file, email="nobody@example.com"), 404, "file_not_found")
    assert_problem(client.get(f"{FILES}/{unknown_file['id']}/grants", headers=owner.headers), 404, "file_not_found")
    assert_problem(client.delete(f"{FILES}/{unknown_file['id']}/grants/{stranger.id}", headers=owner.headers), 404, "file_not_found")
    assert client.get(f"{FILES}/{file['id']}/grants", headers=owner.headers).json() == []
    assert grant_successfully(client, admin, file, stranger)["role"] == "viewer"


def test_owner_cannot_be_a_grantee(client: httpx.Client, owner: Account, admin: Account) -> None:
    file = make_file(client, owner)

    for granter in (owner, admin):
        for parameters in ({"user_id": str(owner.id)}, {"email": owner.email}):
            assert_problem(grant(client, granter, file, **parameters), 409, "own_file")


def test_disabled_and_unknown_users_return_the_same_response(
    client: httpx.Client, services: Services, owner: Account, make_user: MakeUser
) -> None:
    file, disabled = make_file(client, owner), make_user()
    set_columns(services, User, disabled.id, is_active=False)

    responses = [
        grant(client, owner, file, **parameters)
        for parameters in (
            {"email": "nobody@example.com"},
            {"email": disabled.email},
            {"user_id": str(uuid4())},
            {"user_id": str(disabled.id)},
        )
    ]

    for response in responses:
        assert_problem(response, 404, "user_not_found")
    assert len({response.json()["detail"] for response in responses}) == 1


def test_grant_by_user_id_does_not_reveal_the_address(client: httpx.Client, owner: Account, friend: Account) -> None:
    """Every public file contains its owner's id; a grant to that id must not reveal the e-mail address."""
    file = make_file(client, owner)
    by_id = grant_successfully(client, owner, file, friend)
    assert friend.email not in str(by_id)

    by_email = grant(client, owner, file, email=friend.email.upper(), role="editor").json()
    again = grant_successfully(client, owner, file, friend)

    assert (by_email["user_id"], by_email["email"], by_email["role"]) == (str(friend.id), friend.email, "editor")
    assert (again["email"], again["created_at"]) == (friend.email, by_id["created_at"])


def test_grantee_sees_only_their_own_grant(client: httpx.Client, owner: Account, friend: Account, make_user: MakeUser) -> None:
    file, other = make_file(client, owner), make_user()
    grant(client, owner, file, email=other.email)
    grant_successfully(client, owner, file, friend, "editor")

    own = client.get(f"{FILES}/{file['id']}/grants", headers=friend.headers)

    assert [(row["user_id"], row["role"]) for row in own.json()] == [(str(friend.id), "editor")]
    assert other.email not in own.text


def test_address_lookups_are_throttled(client: httpx.Client, owner: Account, friend: Account, stranger: Account) -> None:
    file = make_file(client, owner)
    attempts = [grant(client, owner, file, email=f"guess-{number}@example.com") for number in range(FREE_ATTEMPTS_PER_ADDRESS + 3)]

    assert {response.status_code for response in attempts[:FREE_ATTEMPTS_PER_ADDRESS]} == {404}
    assert_problem(attempts[-1], 429, "too_many_attempts")
    assert int(attempts[-1].headers["retry-after"]) >= 1
    assert_problem(grant(client, owner, file, email=friend.email), 429, "too_many_attempts")
    # Grants by id, other users at the same address, and sign-ins are not throttled.
    assert grant(client, owner, file, user_id=str(friend.id)).status_code == 200
    assert grant(client, stranger, make_file(client, stranger), email=friend.email).status_code == 200
    form = {"username": owner.email, "password": owner.password}
    assert client.post("/api/v1/login/token", data=form).status_code == 200


def test_sharing_with_known_users_is_not_throttled(client: httpx.Client, owner: Account, friend: Account) -> None:
    file = make_file(client, owner)

    assert {grant(client, owner, file, email=friend.email).status_code for _ in range(FREE_ATTEMPTS_PER_ADDRESS + 10)} == {200}


def test_file_can_be_shared_with_at_most_a_hundred_users(client: httpx.Client, services: Services, owner: Account, friend: Account) -> None:
    file, now = make_file(client, owner), clock.now()
    users = [{"id": uuid4(), "email": f"{uuid4()}@example.com", "hashed_password": "x"} for _ in range(GRANTS_PER_FILE)]
    with services.engine.begin() as connection:
        connection.execute(insert(User), users)
        fields = {"file_id": UUID(file["id"]), "owner_id": owner.id, "role": "viewer", "created_at": now, "updated_at": now}
        connection.execute(insert(FileGrant), [fields | {"user_id": grantee["id"]} for grantee in users])

    assert_problem(grant(client, owner, file, user_id=str(friend.id)), 409, "too_many_grants")
    assert grant(client, owner, file, user_id=str(users[0]["id"]), role="editor").json()["role"] == "editor"
    assert len(client.get(f"{FILES}/{file['id']}/grants", headers=owner.headers).json()) == GRANTS_PER_FILE


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"role": "viewer"},
        {"user_id": str(uuid4()), "email": "a@example.com"},
        {"user_id": str(uuid4()), "role": "owner"},
        {"user_id": str(uuid4()), "role": "VIEWER"},
        {"user_id": "x"},
        {"user_id": 5},
        {"user_id": [str(uuid4())] * 1000},
        {"email": "a\r\nBcc: b@example.com"},
        {"email": "a" * 5000 + "@example.com"},
        {"email": "\ud800@example.com"},
        {"user_id": str(uuid4()), "owner_id": str(uuid4())},
        [],
        None,
    ],
)
def test_invalid_grant_returns_422(client: httpx.Client, owner: Account, body: Any) -> None:
    path = f"{FILES}/{uuid4()}/grants"

    response = client.put(path, content=json.dumps(body), headers=owner.headers | {"Content-Type": "application/json"})

    assert_problem(response, 422, "malformed_request")


# --- lists -----------------------------------------------------------------------------------------------------------


def list_names(client: httpx.Client, account: Account, **params: Any) -> list[str]:
    response = client.get(FILES, params=params, headers=account.headers)
    assert response.status_code == 200, response.text
    return [file["filename"] for file in response.json()]


def test_shared_filter_lists_files_in_both_directions(
    client: httpx.Client, owner: Account, friend: Account, admin: Account, make_user: MakeUser
) -> None:
    other = make_user()
    files = {name: make_file(client, owner, b"x" * size, filename=name) for size, name in enumerate(("a.txt", "b.png", "c.txt", "d.txt"))}
    own = make_file(client, friend, filename="mine.txt")
    for name in ("a.txt", "b.png", "c.txt"):
        grant_successfully(client, owner, files[name], friend)
    grant_successfully(client, owner, files["c.txt"], other, "editor")
    grant_successfully(client, friend, own, other)

    assert list_names(client, friend) == ["mine.txt"]
    assert list_names(client, friend, shared="with_me") == ["c.txt", "b.png", "a.txt"]
    assert list_names(client, friend, shared="with_me", sort="name", q="B") == ["b.png"]
    assert list_names(client, friend, shared="with_me", sort="-size", limit=2) == ["c.txt", "b.png"]
    assert list_names(client, friend, shared="with_me", size_max=1, sort="size") == ["a.txt", "b.png"]
    assert list_names(client, friend, shared="with_me", status="pending") == []
    assert list_names(client, friend, shared="by_me") == ["mine.txt"]
    assert list_names(client, owner, shared="by_me") == ["c.txt", "b.png", "a.txt"]
    assert list_names(client, owner, shared="with_me") == []
    assert list_names(client, other, shared="with_me", sort="name") == ["c.txt", "mine.txt"]
    assert list_names(client, admin, shared="with_me") == []
    assert list_names(client, admin, shared="by_me") == []
    total = client.get(FILES, params={"shared": "with_me", "count": "true", "limit": 1}, headers=friend.headers)
    assert total.headers["x-total-count"] == "3"
    assert "shared=with_me" in total.headers["link"]
    assert_problem(client.get(FILES, params={"shared": "everything"}, headers=friend.headers), 422, "malformed_request")


@pytest.mark.parametrize("sort", ["created", "-created", "name", "-name", "size", "-size"])
def test_cursor_returns_every_shared_file_once(client: httpx.Client, owner: Account, friend: Account, sort: str) -> None:
    for number in range(5):
        grant_successfully(client, owner, make_file(client, owner, b"x" * (number % 3), filename=f"{number % 2}.txt"), friend)
    expected = client.get(FILES, params={"sort": sort, "shared": "with_me"}, headers=friend.headers).json()
    returned: list[Any] = []
    params: dict[str, Any] = {"sort": sort, "limit": 2, "shared": "with_me"}
    while True:
        response = client.get(FILES, params=params, headers=friend.headers)
        returned += response.json()
        if "x-next-cursor" not in response.headers:
            break
        params["cursor"] = response.headers["x-next-cursor"]

    assert len(returned) == 5
    assert returned == expected


# --- races -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def concurrent_services(settings: Settings, services: Services) -> Iterator[Services]:
    """Services with connections for forty concurrent requests."""
    engine = create_database_engine(settings.model_copy(update={"database_pool_size": 40, "database_timeout_seconds": 30.0}))
    yield replace(services, engine=engine, session_factory=create_session_factory(engine))
    engine.dispose()


def test_concurrent_grants_and_revocations_do_not_deadlock(
    client: httpx.Client, concurrent_services: Services, owner: Account, friend: Account
) -> None:
    """Changes of the file and of the grantee's key columns run concurrently; they lock the same rows."""
    file = make_file(client, owner)
    file_id = UUID(file["id"])

    def act(number: int) -> None:
        with concurrent_services.unit_of_work() as session:
            user = session.get_one(User, owner.id)
            if number % 4 == 0:
                concurrent_services.files(session).update_file(user, file_id, FileUpdate(is_public=bool(number % 8)))
            elif number % 4 == 1:
                change = {"email": f"{uuid4()}@example.com"}
                UserRepository(session).update(friend.id, change, action="user.email_changed")
            elif number % 4 == 2:
                try:
                    concurrent_services.grants(session).revoke(user, file_id, friend.id)
                except GrantNotFoundError:
                    return
            else:
                concurrent_services.grants(session).grant(user, file_id, GrantCreate(user_id=friend.id))

    with ThreadPoolExecutor(40) as threads:
        list(threads.map(act, range(120)))

    grant_successfully(client, owner, file, friend)
    with concurrent_services.unit_of_work() as session:
        assert session.query(FileGrant).filter(FileGrant.file_id == file_id).count() == 1


def test_revocation_is_visible_to_another_process_at_once(
    settings: Settings, services: Services, client: httpx.Client, owner: Account, friend: Account
) -> None:
    file = make_file(client, owner)
    grant_successfully(client, owner, file, friend)
    other_services = Services.build(settings.model_copy(update={"database_url": SecretStr(settings.database_url.get_secret_value())}))
    with httpx.Client(
        transport=GatewayTransport(GatewayHandler(create_app(settings, other_services))), base_url="https://api.test"
    ) as other:
        assert can_read(other, friend, file)
        client.delete(f"{FILES}/{file['id']}/grants/{friend.id}", headers=owner.headers)
        assert not can_read(other, friend, file)
    other_services.engine.dispose()
