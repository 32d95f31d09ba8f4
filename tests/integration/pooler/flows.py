"""What is asked of the API while the line breaks: each flow prepares, acts, and knows what must be true however it went."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import func, select, text

from lambda_app.factory import Services
from lambda_app.models import File
from tests.support.accounts import Account, make_file, put_object, start_upload

API = "/api/v1"
PASSWORD = "a long enough password"


@dataclass(frozen=True)
class World:
    """The caller's side of the broken line, and a side that stays whole."""

    broken: httpx.Client
    whole: httpx.Client
    services: Services
    """On the whole side."""
    owner: Account


@dataclass(frozen=True)
class Flow:
    """One request, which may be sent again."""

    prepare: Callable[[World], Any]
    act: Callable[[World, Any], httpx.Response]
    done: int
    """The status of success."""
    done_again: tuple[int, ...]
    """What the same request may be answered with when it, or its lost forerunner, has had its effect already."""
    effects: Callable[[World, Any], int]
    """How many times the effect is there: 1 at most, and 1 once it was acknowledged."""


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
    # Only the state that was read may be changed: a second change would be refused.
    return world.broken.put(
        f"{API}/files/{file['id']}", json={"description": file["id"]}, headers={**world.owner.headers, "If-Match": '"1"'}
    )


def _is_updated(world: World, file: dict[str, Any]) -> int:
    return _count(world, "SELECT count(*) FROM file WHERE id = :id AND description = :text", id=file["id"], text=file["id"])


def _delete(world: World, file: dict[str, Any]) -> httpx.Response:
    return world.broken.delete(f"{API}/files/{file['id']}", headers=world.owner.headers)


def _is_gone(world: World, file: dict[str, Any]) -> int:
    return 1 - _count(world, "SELECT count(*) FROM file WHERE id = :id AND status <> 'deleting'", id=file["id"])


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


def _read(path: str) -> Flow:
    """A read has no effect to lose: it succeeds whenever the line breaks."""

    def act(world: World, file: dict[str, Any]) -> httpx.Response:
        return world.broken.get(f"{API}{path.format(id=file['id'])}", headers=world.owner.headers)

    return Flow(prepare=_shared_file, act=act, done=200, done_again=(200,), effects=lambda _world, _file: 1)


def _shared_file(world: World) -> dict[str, Any]:
    return make_file(world.whole, world.owner)


FLOWS: dict[str, Flow] = {
    "start an upload": Flow(_name, _start("upload"), 201, (201,), _file_count),
    "start an upload in parts": Flow(_name, _start("multipart"), 201, (201,), _file_count),
    "complete an upload": Flow(_uploaded, _complete, 200, (200,), _is_available),
    "update a file": Flow(_file, _update, 200, (412,), _is_updated),
    "delete a file": Flow(_file, _delete, 204, (204, 404), _is_gone),
    "register": Flow(_name, _register, 201, (409,), _users),
    "make an API key": Flow(_without_keys, _make_key, 201, (201,), lambda world, name: min(1, _keys(world, name))),
    "refresh a session": Flow(_sign_in, _refresh, 200, (401,), _cannot_refresh),
    "sign out": Flow(_sign_in, _sign_out, 204, (204, 401), _cannot_refresh),
    "read a file": _read("/files/{id}"),
    "list files": _read("/files"),
    "download a file": _read("/files/download/{id}"),
}


def _keys(world: World, name: str) -> int:
    return _count(world, "SELECT count(*) FROM api_key WHERE name = :name", name=name)
