"""The API requests that are tested while the database connection breaks. Each flow prepares, acts, and counts its effects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import func, select, text

from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.factory import Services
from lambda_app.models import File
from tests.support.accounts import Account, make_file, put_object, start_upload
from tests.support.shares import make_share

API = "/api/v1"
PASSWORD = "a long enough password"


@dataclass(frozen=True)
class World:
    """A client of the API with the broken connection, and a client of an API with an intact one."""

    broken: httpx.Client
    whole: httpx.Client
    services: Services
    """Services with an intact connection."""
    owner: Account


@dataclass(frozen=True)
class Flow:
    """One request, which can be retried."""

    prepare: Callable[[World], Any]
    act: Callable[[World, Any], httpx.Response]
    done: int
    """The status of success."""
    done_again: tuple[int, ...]
    """Other statuses that a retry may have when the lost request has already had its effect."""
    effects: Callable[[World, Any], int]
    """Returns how often the effect has happened: at most once, and exactly once after a success."""


def _file_count(world: World, filename: str) -> int:
    with world.services.unit_of_work() as session:
        count: int = session.execute(select(func.count()).where(File.filename == filename, File.owner_id == world.owner.id)).scalar_one()
        return count


def _count(world: World, sql: str, **values: Any) -> int:
    with world.services.engine.connect() as connection:
        count: int = connection.execute(text(sql), values).scalar_one()
        return count


def _name(_world: World) -> str:
    return f"n-{uuid4()}"


def _start(kind: str) -> Callable[[World, str], httpx.Response]:
    def act(world: World, name: str) -> httpx.Response:
        body = {"filename": name, "content_type": "a/b", "size_bytes": 5}
        return world.broken.post(f"{API}/files/{kind}", json=body, headers={**world.owner.headers, "Idempotency-Key": name})

    return act


def _uploaded(world: World) -> dict[str, Any]:
    upload = start_upload(world.whole, world.owner)
    assert put_object(upload, b"hello").status_code == 200
    return upload


def _complete(world: World, upload: dict[str, Any]) -> httpx.Response:
    return world.broken.post(f"{API}/files/{upload['file_id']}/complete", headers=world.owner.headers)


def _is_available(world: World, upload: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM file WHERE id = :id AND status = 'available'", id=upload["file_id"])


def _file(world: World) -> dict[str, Any]:
    return make_file(world.whole, world.owner, status="pending")


def _update(world: World, file: dict[str, Any]) -> httpx.Response:
    # If-Match allows the update only for the revision that was read, so a second update is rejected.
    return world.broken.put(
        f"{API}/files/{file['id']}", json={"description": file["id"]}, headers={**world.owner.headers, "If-Match": '"1"'}
    )


def _is_updated(world: World, file: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM file WHERE id = :id AND description = :text", id=file["id"], text=file["id"])


def _delete(world: World, file: dict[str, Any]) -> httpx.Response:
    return world.broken.delete(f"{API}/files/{file['id']}", headers=world.owner.headers)


def _is_gone(world: World, file: dict[str, Any]) -> int:
    return 1 - _count(world, "SELECT count(*) FROM file WHERE id = :id AND status <> 'deleting'", id=file["id"])


def _unlimited_name(world: World) -> str:
    """Return a name for a registration, and forget the earlier ones, which would reach the limit of one network."""
    with world.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM mail_allowance"))
    return _name(world)


def _register(world: World, name: str) -> httpx.Response:
    return world.broken.post(f"{API}/users/", json={"email": f"{name}@example.com", "password": PASSWORD})


def _users(world: World, name: str) -> int:
    return _count(world, 'SELECT count(*) FROM "user" WHERE email = :email', email=f"{name}@example.com")


def _without_keys(world: World) -> str:
    with world.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM api_key WHERE user_id = :id"), {"id": world.owner.id})
    return _name(world)


def _make_key(world: World, name: str) -> httpx.Response:
    return world.broken.post(f"{API}/users/me/api-keys", json={"name": name, "scopes": ["shares"]}, headers=world.owner.headers)


def _sign_in(world: World) -> dict[str, Any]:
    form = {"username": world.owner.email, "password": world.owner.password}
    tokens: dict[str, Any] = world.whole.post(f"{API}/login/token", data=form).json()
    return tokens


def _refresh(world: World, tokens: dict[str, Any]) -> httpx.Response:
    return world.broken.post(f"{API}/login/refresh", json={"refresh_token": tokens["refresh_token"]})


def _sign_out(world: World, tokens: dict[str, Any]) -> httpx.Response:
    return world.broken.post(f"{API}/login/logout", json={"refresh_token": tokens["refresh_token"]})


def _cannot_refresh(world: World, tokens: dict[str, Any]) -> int:
    return int(world.whole.post(f"{API}/login/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 401)


def _successors(world: World, tokens: dict[str, Any]) -> int:
    """Return how many successors the refresh token has: one, however often its refresh is repeated."""
    query = "SELECT count(*) - 1 FROM refresh_token WHERE session_id = (SELECT session_id FROM refresh_token WHERE token_hash = :hash)"
    with world.services.engine.connect() as connection:
        return int(connection.execute(text(query), {"hash": hash_secret(tokens["refresh_token"])}).scalar_one())


def _read(path: str) -> Flow:
    """Return the flow of a read, which has no effect and always succeeds."""

    def act(world: World, file: dict[str, Any]) -> httpx.Response:
        return world.broken.get(f"{API}{path.format(id=file['id'])}", headers=world.owner.headers)

    return Flow(prepare=_shared_file, act=act, done=200, done_again=(200,), effects=lambda _world, _file: 1)


def _shared_file(world: World) -> dict[str, Any]:
    return make_file(world.whole, world.owner)


def _link(world: World, **options: Any) -> dict[str, Any]:
    return make_share(world.whole, world.owner, _shared_file(world)["id"], **options)


def _open_link(world: World, share: dict[str, Any]) -> httpx.Response:
    return world.broken.get(share["url"])


def _was_opened(world: World, share: dict[str, Any]) -> int:
    # Each request counts as an opening. One that failed with 503 may have been counted, and its retry is counted again.
    return min(1, _count(world, "SELECT open_count FROM share WHERE id = :id", id=share["id"]))


def _download_at_link(world: World, share: dict[str, Any]) -> httpx.Response:
    return world.broken.get(f"{share['url']}/files/{share['file_ids'][0]}")


def _downloads(world: World, share: dict[str, Any]) -> int:
    return _count(world, "SELECT download_count FROM share WHERE id = :id", id=share["id"])


def _shared_with(world: World) -> dict[str, Any]:
    return {"key": _name(world), "file": _shared_file(world)["id"], "friend": world.owner.email}


def _share(world: World, parameters: dict[str, Any]) -> httpx.Response:
    body = {"file_ids": [parameters["file"]], "audience": "named", "recipients": [parameters["friend"]]}
    return world.broken.post(f"{API}/shares", json=body, headers={**world.owner.headers, "Idempotency-Key": parameters["key"]})


def _links(world: World, parameters: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM share_file WHERE file_id = :id", id=parameters["file"])


def _grant(world: World, parameters: dict[str, Any]) -> httpx.Response:
    path = f"{API}/files/{parameters['file']}/grants"
    return world.broken.put(path, json={"email": parameters["friend"]}, headers=world.owner.headers)


def _granted_to(world: World) -> dict[str, Any]:
    friend = f"{_name(world)}@example.com"
    registered = world.whole.post(f"{API}/users/", json={"email": friend, "password": PASSWORD})
    assert registered.status_code == 201, registered.text
    return {"file": _shared_file(world)["id"], "friend": friend}


def _grants(world: World, parameters: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM file_grant WHERE file_id = :id", id=parameters["file"])


def _file_request(world: World) -> dict[str, Any]:
    # An account can have at most 100 file requests.
    with world.services.engine.begin() as connection:
        connection.execute(text("UPDATE file_request SET revoked_at = now() WHERE owner_id = :id"), {"id": world.owner.id})
    made = world.whole.post(f"{API}/file-requests", json={"title": "Photos", "max_files": 1}, headers=world.owner.headers)
    assert made.status_code == 201, made.text
    request: dict[str, Any] = made.json()
    return request


def _declare(client: httpx.Client, request: dict[str, Any]) -> httpx.Response:
    return client.post(f"/r/{request['token']}/files", json={"filename": "a", "content_type": "a/b", "size_bytes": 5})


def _guest_files(world: World, request: dict[str, Any]) -> int:
    taken = _count(world, "SELECT file_count FROM file_request WHERE id = :id", id=request["id"])
    assert taken == _count(world, "SELECT count(*) FROM file WHERE file_request_id = :id", id=request["id"])
    return taken


def _sent_by_guest(world: World) -> dict[str, Any]:
    request = _file_request(world)
    upload: dict[str, Any] = _declare(world.whole, request).json()
    assert put_object(upload, b"hello").status_code == 200
    return upload | {"path": f"/r/{request['token']}/files/{upload['file_id']}/complete"}


def _complete_as_guest(world: World, upload: dict[str, Any]) -> httpx.Response:
    return world.broken.post(upload["path"], json={"guest_token": upload["guest_token"]})


def _file_to_pack(world: World) -> dict[str, Any]:
    # An account can have at most five unfinished archives, and no worker is running.
    with world.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM archive WHERE user_id = :id"), {"id": world.owner.id})
    return _shared_file(world)


def _request_archive(world: World, file: dict[str, Any]) -> httpx.Response:
    return world.broken.post(f"{API}/archives", json={"file_ids": [file["id"]]}, headers=world.owner.headers)


def _archives(world: World, file: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM archive_file WHERE file_id = :id", id=file["id"])


def _link_to_pack(world: World) -> dict[str, Any]:
    # The archives of all links of an owner share a limit.
    with world.services.engine.begin() as connection:
        connection.execute(text("DELETE FROM archive WHERE holder_id = :id AND share_id IS NOT NULL"), {"id": world.owner.id})
    return _link(world)


def _request_archive_at_link(world: World, share: dict[str, Any]) -> httpx.Response:
    return world.broken.post(f"{share['url']}/archives")


def _archives_of_link(world: World, share: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM archive WHERE share_id = :id", id=share["id"])


FLOWS: dict[str, Flow] = {
    "start an upload": Flow(_name, _start("upload"), 201, (201,), _file_count),
    "start an upload in parts": Flow(_name, _start("multipart"), 201, (201,), _file_count),
    "complete an upload": Flow(_uploaded, _complete, 200, (200,), _is_available),
    "update a file": Flow(_file, _update, 200, (412,), _is_updated),
    "delete a file": Flow(_file, _delete, 204, (204, 404), _is_gone),
    "register": Flow(_unlimited_name, _register, 201, (409,), _users),
    "create an API key": Flow(_without_keys, _make_key, 201, (201,), lambda world, name: min(1, _keys(world, name))),
    # A repeated refresh returns the same successor for 30 seconds.
    "refresh a session": Flow(_sign_in, _refresh, 200, (200,), _successors),
    "sign out": Flow(_sign_in, _sign_out, 204, (204, 401), _cannot_refresh),
    "read a file": _read("/files/{id}"),
    "list files": _read("/files"),
    "download a file": _read("/files/download/{id}"),
    "create a link": Flow(_shared_with, _share, 201, (201,), _links),
    "open a link": Flow(_link, _open_link, 200, (200,), _was_opened),
    # A granted download whose response is lost still counts, and is never granted twice.
    "download at a limited link": Flow(lambda world: _link(world, max_downloads=1), _download_at_link, 302, (404,), _downloads),
    "share by name": Flow(_granted_to, _grant, 200, (200,), _grants),
    "start a guest's upload": Flow(_file_request, lambda world, request: _declare(world.broken, request), 201, (409,), _guest_files),
    "complete a guest's upload": Flow(_sent_by_guest, _complete_as_guest, 200, (200,), _is_available),
    "request an archive": Flow(_file_to_pack, _request_archive, 202, (202,), _archives),
    "request an archive of a link": Flow(_link_to_pack, _request_archive_at_link, 202, (202,), _archives_of_link),
}


def _keys(world: World, name: str) -> int:
    return _count(world, "SELECT count(*) FROM api_key WHERE name = :name", name=name)
