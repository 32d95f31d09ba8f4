"""Requests whose own statement authenticates the caller: the permission rule, the answers, and their order."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, text

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.db.compiled import STATEMENT_MAX_BYTES, CompiledStatement, StatementRunner
from lambda_app.factory import Services
from lambda_app.models import File, FileGrant, FileStatus, User
from lambda_app.repositories.accounts.callers import Credential, api_key_credential, caller_statements, session_credential
from lambda_app.repositories.files import caller_lists
from lambda_app.repositories.files.caller_files import CallerFileRepository, file_statements
from lambda_app.repositories.files.caller_uploads import FILE_PARAMETERS, upload_statements
from lambda_app.repositories.files.file_access import downloadable_by, manageable_by, readable_by
from lambda_app.repositories.sharing.caller_links import link_statements
from lambda_app.schemas.accounts.users import User as ShownUser
from lambda_app.schemas.files.files import File as ShownFile
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.uploads import pending_columns
from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem

FILES = "/api/v1/files"
ME = "/api/v1/users/me"
UPLOAD = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 5}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make_key(client: httpx.Client, account: Account, *scopes: str) -> str:
    body = {"name": "key", "scopes": list(scopes)}
    key: str = client.post(f"{ME}/api-keys", json=body, headers=account.headers).json()["key"]
    return key


# The permission rule


def every_file(owner_id: UUID, grantee_id: UUID) -> Iterator[tuple[File, FileGrant | None]]:
    """Yield a file for each combination of status, visibility and grant."""
    now = clock.now()
    for status in FileStatus:
        for is_public in (False, True):
            for grant in (None, "viewer", "editor", "pending"):
                file_id = uuid4()
                file = File(
                    id=file_id, filename="a", content_type="a/b", size_bytes=1, s3_key=f"files/{file_id}", owner_id=owner_id,
                    is_public=is_public, status=status.value, upload_expires_at=now, created_at=now, updated_at=now,
                )  # fmt: skip
                row = None
                if grant is not None:
                    role = "viewer" if grant == "pending" else grant
                    row = FileGrant(
                        file_id=file_id, user_id=grantee_id, owner_id=owner_id, file_created_at=now, role=role, email=None,
                        is_pending=grant == "pending", created_at=now, updated_at=now,
                    )  # fmt: skip
                yield file, row


class Matrix:
    """Every kind of file of an active and of a disabled owner, and every kind of caller."""

    def __init__(self, client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
        self.services = services
        owner, disabled, grantee, stranger = make_user(), make_user(), make_user(), make_user()
        superuser = make_user(is_superuser=True)
        self.accounts = {"owner": owner, "grantee": grantee, "stranger": stranger, "superuser": superuser}
        self.keys = {
            (name, scope): make_key(client, account, scope) for name, account in self.accounts.items() for scope in ("files:read", "admin")
        }
        with services.unit_of_work() as session:
            rows = [row for owner_id in (owner.id, disabled.id) for row in every_file(owner_id, grantee.id)]
            for file, grant in rows:
                # Each in a statement of its own, which stays short.
                session.add(file)
                session.flush()
                if grant is not None:
                    session.add(grant)
                    session.flush()
            self.file_ids = [file.id for file, _ in rows]
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
            self.sessions: dict[str, Any] = {
                name: connection.execute(text("SELECT id FROM user_session WHERE user_id = :id LIMIT 1"), {"id": account.id}).scalar_one()
                for name, account in self.accounts.items()
            }

    def callers(self) -> Iterator[tuple[str, Credential, User]]:
        """Yield each caller as a credential, and as the row that the ordinary authentication returns."""
        for name, account in self.accounts.items():
            token = session_credential(user_id=account.id, session_id=self.sessions[name], token_epoch=0)
            yield f"{name}'s session", token, User(id=account.id, is_superuser=name == "superuser")
            for scope in ("files:read", "admin"):
                credential = api_key_credential(hash_secret(self.keys[name, scope]))
                has_power = name == "superuser" and scope == "admin"
                yield f"{name}'s {scope} key", credential, User(id=account.id, is_superuser=has_power)


def test_every_spelling_of_the_permission_rule_agrees(client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
    matrix = Matrix(client, services, make_user)
    runner = StatementRunner(services.engine)
    repository = CallerFileRepository(runner)
    outcomes: dict[str, list[bool]] = {}
    for name, credential, user in matrix.callers():
        with services.unit_of_work() as session:
            rules = (readable_by(user), manageable_by(user), downloadable_by(user))
            query = select(File.id, File.status, *rules).where(File.id.in_(matrix.file_ids))
            expected = {row[0]: row[1:] for row in session.execute(query)}
        permitted = []
        for file_id in matrix.file_ids:
            status, is_readable, is_manageable, is_downloadable = expected[file_id]
            for found in (runner.complete(repository.find(credential, file_id)), repository.find_downloadable(credential, file_id)):
                assert found.caller is not None, name
                assert (found.caller.id, found.caller.is_superuser) == (user.id, user.is_superuser), name
                assert found.is_permitted == (None if status == "deleting" else is_readable), (name, status)
            assert not is_manageable or is_readable
            assert is_downloadable == (is_readable and status == "available")
            permitted.append(is_readable)
        outcomes[name] = permitted
    # The matrix distinguishes the callers.
    assert all(outcomes["superuser's session"])
    assert outcomes["superuser's files:read key"] == outcomes["stranger's session"]
    assert sum(outcomes["stranger's session"]) < sum(outcomes["grantee's session"]) < sum(outcomes["owner's session"])
    with services.unit_of_work() as session:
        public = set(session.execute(select(File.id).where(File.id.in_(matrix.file_ids), readable_by(None))).scalars())
    assert {file_id for file_id, is_open in zip(matrix.file_ids, outcomes["stranger's session"], strict=True) if is_open} == public


# The answers


def test_file_and_account_are_the_json_of_their_models(client: httpx.Client, services: Services, owner: Account) -> None:
    names = ['quote " and \\ backslash', "ünï 🙂 / </script>", "x" * 255]
    files = [make_file(client, owner, filename=name, is_public=number == 0) for number, name in enumerate(names)]
    make_file(client, owner, status="pending")
    client.post(f"{FILES}/multipart", json=UPLOAD, headers=owner.headers)
    description = "line\nbreak\tand \u2028 a separator"
    client.patch(f"{FILES}/{files[1]['id']}", json={"description": description}, headers=owner.headers)
    with services.unit_of_work() as session:
        rows = (
            session.execute(select(File).where(File.owner_id == owner.id).order_by(File.created_at.desc(), File.id.desc())).scalars().all()
        )
        expected = [ShownFile.model_validate(row).model_dump_json().encode() for row in rows]
        account = ShownUser.model_validate(session.get_one(User, owner.id)).model_dump_json().encode()

    assert [client.get(f"{FILES}/{row.id}", headers=owner.headers).content for row in rows] == expected
    assert client.get(FILES, headers=owner.headers).content == b"[" + b",".join(expected) + b"]"
    assert client.get(ME, headers=owner.headers).content == account


def test_list_of_a_superuser_has_the_same_json(client: httpx.Client, owner: Account, admin: Account) -> None:
    make_file(client, owner, filename="ü 1.txt")

    own = client.get(FILES, headers=owner.headers)
    of_owner = client.get(FILES, params={"owner_id": str(owner.id)}, headers=admin.headers)

    assert own.content == of_owner.content
    assert TypeAdapter(list[ShownFile]).validate_json(own.content)


def test_list_of_ids_and_statuses_takes_the_parameters_of_its_statement(client: httpx.Client, owner: Account) -> None:
    ids = [make_file(client, owner, status="pending")["id"] for _ in range(3)]

    wanted = client.get(FILES, params={"ids": ids[:2]}, headers=owner.headers).json()
    other = client.get(FILES, params={"ids": ids[2], "status": ["pending", "available"]}, headers=owner.headers).json()

    assert {file["id"] for file in wanted} == set(ids[:2])
    assert [file["id"] for file in other] == ids[2:]


@pytest.mark.parametrize("sort", ["created", "-created", "name", "-name", "size", "-size", "updated", "-updated"])
def test_cursors_lead_through_the_whole_list(client: httpx.Client, owner: Account, sort: str) -> None:
    ids = {make_file(client, owner, filename=f"Ä{number}.txt", size_bytes=number // 2, status="pending")["id"] for number in range(5)}
    seen: list[str] = []
    parameters: dict[str, Any] = {"sort": sort, "limit": 2}
    while True:
        response = client.get(FILES, params=parameters, headers=owner.headers)
        seen += [file["id"] for file in response.json()]
        if "x-next-cursor" not in response.headers:
            break
        parameters["cursor"] = response.headers["x-next-cursor"]

    assert (len(seen), set(seen)) == (5, ids)


# The order of errors


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{FILES}/no-id", None),
        ("GET", f"{FILES}/download/no-id", None),
        ("GET", f"{FILES}?limit=0", None),
        ("GET", f"{FILES}?owner_id={UUID(int=1)}&all=true", None),
        ("GET", f"{FILES}?cursor=none", None),
        ("POST", f"{FILES}/upload", {"filename": ""}),
        ("POST", f"{FILES}/upload", {**UPLOAD, "size_bytes": 6 * 1024**3}),
        ("GET", f"/s/none/files/{UUID(int=1)}", None),
    ],
)
def test_credential_is_checked_before_other_errors(
    client: httpx.Client, make_user: Callable[..., Account], method: str, path: str, body: dict[str, Any] | None
) -> None:
    ended = make_user()
    wrong_key = make_key(client, ended, "shares")
    errors = client.request(method, path, json=body, headers={**ended.headers, "User-Agent": "bot"})
    assert errors.status_code in (403, 404, 413, 422), errors.text
    client.post("/api/v1/login/logout-everywhere", headers=make_user().headers)

    assert_problem(client.request(method, path, json=body, headers=bearer(wrong_key)), 403, "insufficient_scope")
    client.post("/api/v1/login/logout-everywhere", headers=ended.headers)
    for headers in (ended.headers, bearer(wrong_key), bearer("no-token")):
        assert_problem(client.request(method, path, json=body, headers={**headers, "User-Agent": "bot"}), 401, "not_authenticated")


def test_upload_without_scope_inserts_nothing(client: httpx.Client, services: Services, owner: Account) -> None:
    readers, writers = make_key(client, owner, "files:read"), make_key(client, owner, "files:write")

    for key, body in ((readers, UPLOAD), (readers, {**UPLOAD, "is_public": True}), (writers, {**UPLOAD, "is_public": True})):
        for extra in ({}, {"Idempotency-Key": "k"}):
            response = client.post(f"{FILES}/upload", json=body, headers=bearer(key) | extra)
            assert_problem(response, 403, "insufficient_scope")

    with services.unit_of_work() as session:
        assert session.execute(select(File.id).where(File.owner_id == owner.id)).all() == []
        user = session.get_one(User, owner.id)
        assert (user.bytes_used, user.files_count) == (0, 0)
    assert client.post(f"{FILES}/upload", json=UPLOAD, headers=bearer(writers) | {"Idempotency-Key": "k"}).status_code == 201


def test_expired_session_lists_nothing(client: httpx.Client, services: Services, owner: Account) -> None:
    make_file(client, owner)
    with services.engine.begin() as connection:
        ended_at = clock.now() - timedelta(seconds=1)
        connection.execute(text("UPDATE user_session SET expires_at = :at WHERE user_id = :id"), {"at": ended_at, "id": owner.id})

    assert_problem(client.get(FILES, headers=owner.headers), 401, "not_authenticated")


# The statements


def test_upload_statement_inserts_every_column_of_a_pending_file() -> None:
    declared = FileCreate.model_validate(UPLOAD)

    assert {*pending_columns(declared), "upload_expires_at"} == set(FILE_PARAMETERS)


def all_statements() -> list[CompiledStatement]:
    return [*caller_statements(), *file_statements(), *upload_statements(), *link_statements()]


def test_statements_are_short_enough_for_rds_proxy() -> None:
    lengths = [len(statement.sql.text.encode()) for statement in all_statements()]

    assert max(lengths) < STATEMENT_MAX_BYTES
    assert len(set(lengths)) > 1


def test_number_of_kept_list_statements_is_limited() -> None:
    assert caller_lists._page_statement.cache_info().maxsize == caller_lists.SHAPES_MAX
