"""Filters, order and totals of file lists, entity tags, and the trash."""

import random
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise, product
from typing import Any, Literal
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import File, User
from lambda_app.repositories.files.files import FileRepository
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Order
from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem

FILES = "/api/v1/files"


def list_names(client: httpx.Client, account: Account, **params: Any) -> list[str]:
    response = client.get(FILES, params=params, headers=account.headers)
    assert response.status_code == 200, response.text
    return [file["filename"] for file in response.json()]


@pytest.fixture
def library_owner(client: httpx.Client, services: Services, owner: Account) -> Account:
    """An owner of six files with different names, types, sizes and times, created one day apart, oldest first."""
    contents = [
        ("Zebra.png", "image/png", b"12345"),
        ("apple.JPG", "image/jpeg", b"1"),
        ("Apricot 50%_off.txt", "text/plain", b"123456789"),
        ("äpfel.txt", "text/plain; charset=utf-8", b""),
        ("apple pie.pdf", "application/pdf", b"123"),
        ("x" * 255, "application/x-x", b"12"),
    ]
    for age, (name, content_type, body) in zip(range(len(contents), 0, -1), contents, strict=True):
        file = make_file(client, owner, body, status="pending", filename=name, content_type=content_type)
        with services.unit_of_work() as session:
            created_at = clock.now() - timedelta(days=age, minutes=1)
            session.query(File).filter(File.id == file["id"]).update({"created_at": created_at})
    return owner


NAMES_BY_FRAGMENT = {
    "APP": ["apple pie.pdf", "apple.JPG"],
    "jpg": ["apple.JPG"],
    "PLE P": ["apple pie.pdf"],
    "apple pie.pdf": ["apple pie.pdf"],
    ".": ["apple pie.pdf", "äpfel.txt", "Apricot 50%_off.txt", "apple.JPG", "Zebra.png"],
    "Ff": ["Apricot 50%_off.txt"],
    "PF": ["äpfel.txt"],
    "Ä": ["äpfel.txt"],
    "ÄPFEL.T": ["äpfel.txt"],
    "x" * 255: ["x" * 255],
    "x" * 254 + "y": [],
    "%": ["Apricot 50%_off.txt"],
    "50%_": ["Apricot 50%_off.txt"],
    "ap%": [],
    "apricot 5__": [],
    "\\": [],
    "{a,b}": [],
    "'; --": [],
    "apple.pdf": [],
    "pplapp": [],
    " ": ["apple pie.pdf", "Apricot 50%_off.txt"],
}


def test_name_filter_matches_any_part_ignoring_case(client: httpx.Client, library_owner: Account) -> None:
    assert {fragment: list_names(client, library_owner, q=fragment) for fragment in NAMES_BY_FRAGMENT} == NAMES_BY_FRAGMENT


@pytest.mark.parametrize("letters", ["abA", "aAbB%_\\ .ÄäßẞсСıİΣσς漢字🙂🙃"], ids=["few", "many"])
def test_name_filter_agrees_with_a_scan_of_all_names(services: Services, owner: Account, letters: str) -> None:
    """With few letters, names contain all trigrams of a fragment but not the fragment; with many, characters have one to four bytes."""
    rng = random.Random(7)
    user = User(id=owner.id, is_superuser=False)
    with services.unit_of_work() as session:
        for _ in range(200):
            file_id, name = uuid4(), "".join(rng.choices(letters, k=rng.randint(1, 12)))
            fields = {"filename": name, "content_type": "a/b", "size_bytes": 0, "upload_expires_at": clock.now(), "owner_id": owner.id}
            session.add(File(id=file_id, s3_key=str(file_id), status="rejected", **fields))
    with services.unit_of_work() as session:
        # PostgreSQL lowercases the names; Python compares them.
        names = session.execute(select(File.filename, func.lower(File.filename)).where(File.owner_id == owner.id))
        lowered: dict[str, str] = {row[0]: row[1] for row in names}
        for _ in range(200):
            name = rng.choice(list(lowered))
            start = rng.randrange(len(name))
            fragment = rng.choice([name[start : start + rng.randint(1, 6)], "".join(rng.choices(letters, k=rng.randint(1, 6)))])
            small = session.execute(select(func.lower(fragment))).scalar_one()
            found = FileRepository(session).page(
                user, FileFilter(name=fragment), order=FileOrder.of(Order.BY_NAME), skip=0, limit=1000, after=None
            )
            assert {file.filename for file in found} == {name for name in lowered if small in lowered[name]}, fragment


def test_files_are_filtered_by_type_status_size_and_time(client: httpx.Client, library_owner: Account) -> None:
    assert list_names(client, library_owner, content_type="image/") == ["apple.JPG", "Zebra.png"]
    assert list_names(client, library_owner, content_type="text/plain") == ["äpfel.txt", "Apricot 50%_off.txt"]
    assert list_names(client, library_owner, content_type="%") == []
    assert list_names(client, library_owner, status="available") == []
    assert len(list_names(client, library_owner, status="pending")) == 6
    assert list_names(client, library_owner, size_min=3, size_max=5) == ["apple pie.pdf", "Zebra.png"]
    since, until = (clock.now() - timedelta(days=days) for days in (4, 2))
    assert (
        list_names(client, library_owner, created_after=since.isoformat(), created_before=until.isoformat())
        == ["apple pie.pdf", "äpfel.txt"][:2]
    )
    assert list_names(client, library_owner, q="ap", content_type="application/", size_max=3) == ["apple pie.pdf"]


@pytest.mark.parametrize("sort", ["created", "-created", "name", "-name", "size", "-size", "updated", "-updated"])
def test_cursor_returns_every_file_once_in_every_order(client: httpx.Client, library_owner: Account, sort: str) -> None:
    expected = client.get(FILES, params={"sort": sort}, headers=library_owner.headers).json()
    returned = []
    params: dict[str, Any] = {"sort": sort, "limit": 2}
    while True:
        response = client.get(FILES, params=params, headers=library_owner.headers)
        returned += response.json()
        if "x-next-cursor" not in response.headers:
            break
        params["cursor"] = response.headers["x-next-cursor"]

    assert returned == expected
    assert len(returned) == 6
    field = {"created": "created_at", "size": "size_bytes", "updated": "updated_at"}.get(sort.removeprefix("-"))
    if field is not None:
        assert all((left[field] < right[field]) == (not sort.startswith("-")) for left, right in pairwise(expected))


def test_names_are_ordered_ignoring_case(client: httpx.Client, library_owner: Account) -> None:
    assert list_names(client, library_owner, sort="name") == [
        "apple pie.pdf",
        "apple.JPG",
        "Apricot 50%_off.txt",
        "x" * 255,
        "Zebra.png",
        "äpfel.txt",
    ]


def test_link_to_the_next_page_keeps_filter_and_order(client: httpx.Client, library_owner: Account) -> None:
    first = client.get(FILES, params={"sort": "name", "q": "ap", "limit": 2}, headers=library_owner.headers)
    assert [file["filename"] for file in first.json()] == ["apple pie.pdf", "apple.JPG"]

    second = client.get(f"{FILES}{first.links['next']['url']}", headers=library_owner.headers)

    assert [file["filename"] for file in second.json()] == ["Apricot 50%_off.txt"]
    assert "link" not in second.headers


def test_cursor_of_another_order_returns_422(client: httpx.Client, library_owner: Account) -> None:
    cursor = client.get(FILES, params={"sort": "name", "limit": 1}, headers=library_owner.headers).headers["x-next-cursor"]

    for sort in ("-name", "size", "created"):
        assert_problem(client.get(FILES, params={"sort": sort, "cursor": cursor}, headers=library_owner.headers), 422, "bad_cursor")


def test_total_is_returned_only_on_request(client: httpx.Client, library_owner: Account) -> None:
    requested = client.get(FILES, params={"count": "true", "limit": 1, "q": "ap"}, headers=library_owner.headers)

    assert requested.headers["x-total-count"] == "3"
    assert "x-total-count" not in client.get(FILES, headers=library_owner.headers).headers


def test_total_of_a_long_list_is_a_lower_bound(client: httpx.Client, library_owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def total() -> tuple[str, str]:
        headers = client.get(FILES, params={"count": "true", "limit": 1}, headers=library_owner.headers).headers
        return headers["x-total-count"], headers["x-total-count-relation"]

    monkeypatch.setattr("lambda_app.services.files.files.COUNT_MAX", 6)
    assert total() == ("6", "eq")
    monkeypatch.setattr("lambda_app.services.files.files.COUNT_MAX", 5)
    assert total() == ("5", "gt")


BY_TIME = "send sort=-created or sort=created"
UNINDEXED = {
    "q=zq": "send at least 3 characters in q",
    "content_type=image/&sort=name": BY_TIME,
    "content_type=image/&sort=-size": BY_TIME,
    "content_type=image/&sort=-updated": BY_TIME,
    "updated_after=2026-01-01T00:00:00Z": "send sort=-updated or sort=updated with updated_after",
    "shared=with_me&sort=name": f"{BY_TIME}, and only created_after and created_before as filters",
    "shared=with_me&q=photo": f"{BY_TIME}, and only created_after and created_before as filters",
    "shared=by_me&sort=-size": f"{BY_TIME}, and only created_after and created_before as filters",
    "shared=by_me&status=pending": f"{BY_TIME}, and only created_after and created_before as filters",
}
"""Requests that no index supports, and the advice of the refusal."""


def test_list_without_an_index_is_refused_if_it_is_long(
    client: httpx.Client, library_owner: Account, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    grantees = [make_user() for _ in range(2)]
    for file in client.get(FILES, params={"sort": "name", "limit": 4}, headers=library_owner.headers).json():
        for grantee in grantees:
            body = {"user_id": str(grantee.id)}
            assert client.put(f"{FILES}/{file['id']}/grants", json=body, headers=library_owner.headers).status_code == 200

    def statuses(rows_max: int) -> dict[str, int]:
        monkeypatch.setattr("lambda_app.services.files.files.UNINDEXED_ROWS_MAX", rows_max)
        responses = {}
        for query, advice in UNINDEXED.items():
            caller = grantees[0] if "with_me" in query else library_owner
            response = responses[query] = client.get(f"{FILES}?{query}", headers=caller.headers)
            if response.status_code != 200:
                assert_problem(response, 422, "list_too_long")
                assert response.json()["detail"] == f"The list has more than {rows_max} files; {advice}"
        return {query: response.status_code for query, response in responses.items()}

    assert statuses(6) == dict.fromkeys(UNINDEXED, 200)
    # Four files are shared, with two grantees each.
    assert statuses(4) == {query: 200 if "shared" in query else 422 for query in UNINDEXED}
    assert statuses(3) == dict.fromkeys(UNINDEXED, 422)
    for query in (
        "",
        "q=abc&sort=name",
        "sort=size",
        "status=pending&sort=name",
        "updated_after=2026-01-01T00:00:00Z&sort=-updated",
        "shared=by_me&created_after=2026-01-01T00:00:00Z",
    ):
        assert client.get(f"{FILES}?{query}", headers=library_owner.headers).status_code == 200


@pytest.mark.parametrize("query", ["sort=name", "sort=-size", "content_type=image/", "size_min=5", "q=zq"])
def test_superusers_list_of_all_files_is_refused_without_an_index(
    client: httpx.Client, library_owner: Account, admin: Account, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.services.files.files.UNINDEXED_ROWS_MAX", 5)

    assert_problem(client.get(f"{FILES}?all=true&{query}", headers=admin.headers), 422, "list_too_long")
    for indexed in ("", "status=pending", "q=apple", "created_after=2026-01-01T00:00:00Z&sort=created"):
        assert client.get(f"{FILES}?all=true&{indexed}&limit=1", headers=admin.headers).status_code == 200


@pytest.mark.parametrize("sort", ["created", "-created", "name", "-name", "size", "-size", "updated", "-updated"])
@pytest.mark.parametrize("shared", ["with_me", "by_me"])
def test_cursor_returns_every_shared_file_once_in_every_order(
    client: httpx.Client, library_owner: Account, make_user: Callable[..., Account], sort: str, shared: str
) -> None:
    grantees = [make_user() for _ in range(2)]
    files = [make_file(client, library_owner, size * b"x", filename=name) for size, name in enumerate("cAb")]
    for file, grantee in product(files, grantees):
        client.put(f"{FILES}/{file['id']}/grants", json={"user_id": str(grantee.id)}, headers=library_owner.headers)
    key: Callable[[Any], Any] = {"name": lambda file: file["filename"].lower(), "size": lambda file: file["size_bytes"]}.get(
        sort.removeprefix("-"), lambda file: file["created_at"]
    )

    returned: list[str] = []
    params: dict[str, Any] = {"shared": shared, "sort": sort, "limit": 1}
    while True:
        response = client.get(FILES, params=params, headers=(grantees[1] if shared == "with_me" else library_owner).headers)
        returned += [file["id"] for file in response.json()]
        if "x-next-cursor" not in response.headers:
            break
        params["cursor"] = response.headers["x-next-cursor"]

    assert returned == [file["id"] for file in sorted(files, key=key, reverse=sort.startswith("-"))]


@pytest.mark.parametrize(
    "query",
    [
        "status=deleting",
        "status=gone",
        "sort=owner_id",
        "sort=name;drop",
        "q=",
        "q=%00",
        "q=" + "x" * 256,
        "content_type=%ff",
        "content_type=a%0Ab",
        "size_min=-1",
        "size_max=9223372036854775808",
        "size_min=1e3",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "count=perhaps",
    ],
)
def test_invalid_filter_returns_422(client: httpx.Client, owner: Account, query: str) -> None:
    assert_problem(client.get(f"{FILES}?{query}", headers=owner.headers), 422, "malformed_request")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_and_sorted_in_either_unicode_form(client: httpx.Client, owner: Account, form: Literal["NFC", "NFD"]) -> None:
    # macOS sends decomposed names; other systems and keyboards send composed ones.
    names = [unicodedata.normalize("NFD", "Été 1.txt"), "Été 2.txt", unicodedata.normalize("NFD", "ÉTÉ 3.txt"), "Etz.txt", "Ezz.txt"]
    for name in names:
        make_file(client, owner, status="pending", filename=name)
    pieces = ["été", "té 1", "É"]

    found = [list_names(client, owner, q=unicodedata.normalize(form, piece), sort="name") for piece in pieces]

    assert found == [names[:3], names[:1], names[:3]]
    assert list_names(client, owner, sort="name") == [*names[3:], *names[:3]]


def test_cursor_continues_between_names_in_both_unicode_forms(client: httpx.Client, owner: Account) -> None:
    names = [unicodedata.normalize(form, f"é{number}.txt") for number, form in enumerate(("NFC", "NFD", "NFC", "NFD"))]  # type: ignore[arg-type]  # literals
    for name in names:
        make_file(client, owner, status="pending", filename=name)

    paged, cursor = [], None
    while True:
        position: dict[str, str] = {"cursor": cursor} if cursor else {}
        response = client.get(FILES, params={"sort": "name", "limit": "1", **position}, headers=owner.headers)
        paged += [file["filename"] for file in response.json()]
        cursor = response.headers.get("x-next-cursor")
        if cursor is None:
            break

    assert paged == names


# --- entity tags -----------------------------------------------------------------------------------------------------


def test_conditional_update_returns_412_after_another_update(client: httpx.Client, owner: Account, stranger: Account) -> None:
    path = f"{FILES}/{make_file(client, owner)['id']}"
    tag = client.get(path, headers=owner.headers).headers["etag"]

    first = client.put(path, json={"description": "first"}, headers={**owner.headers, "If-Match": tag})
    second = client.put(path, json={"description": "second"}, headers={**owner.headers, "If-Match": tag})

    assert (first.status_code, first.headers["etag"] != tag) == (200, True)
    assert_problem(second, 412, "file_changed")
    assert client.get(path, headers=owner.headers).json()["description"] == "first"
    assert_problem(client.put(path, json={}, headers={**owner.headers, "If-Match": tag}), 412, "file_changed")
    for good in (first.headers["etag"], "*"):
        assert client.put(path, json={}, headers={**owner.headers, "If-Match": good}).status_code == 200
    for bad in ("x", '"x"', 'W/"1"', '"99999999999999999999"', "1", ""):
        assert_problem(client.put(path, json={"description": "x"}, headers={**owner.headers, "If-Match": bad}), 412, "file_changed")
    current = first.headers["etag"]
    for bad in (f'"{"1" * 70}"', f'"0{current[1:]}', f"W/{current}", f"{current}, x", '"1", "77"', f"{current[:-1]}"):
        for changes in ({}, {"description": "x"}):
            assert_problem(client.put(path, json=changes, headers={**owner.headers, "If-Match": bad}), 412, "file_changed")
    for tag in ("*", '"1"'):
        assert_problem(client.put(path, json={}, headers={**stranger.headers, "If-Match": tag}), 403, "file_forbidden")
    assert_problem(client.put(f"{FILES}/{uuid4()}", json={}, headers={**owner.headers, "If-Match": "*"}), 404, "file_not_found")


@pytest.mark.parametrize("good", ["{tag}", '"1", {tag}', '"é\u00ff,", {tag} ,"x"', ",{tag},", "*", " * "])
def test_list_of_entity_tags_matches_if_one_does(client: httpx.Client, owner: Account, good: str) -> None:
    path = f"{FILES}/{make_file(client, owner)['id']}"
    client.put(path, json={"description": "second"}, headers=owner.headers)
    tag = client.get(path, headers=owner.headers).headers["etag"]
    headers = httpx.Headers({**owner.headers, "If-Match": good.format(tag=tag)}, encoding="latin-1")

    changed = client.put(path, json={"description": "third"}, headers=headers)

    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_entity_tags_can_be_spread_over_several_headers(client: httpx.Client, owner: Account) -> None:
    path = f"{FILES}/{make_file(client, owner)['id']}"
    tag = client.get(path, headers=owner.headers).headers["etag"]

    response = client.delete(path, headers=[*owner.headers.items(), ("If-Match", '"77"'), ("If-Match", tag)])

    assert response.status_code == 204


@pytest.mark.parametrize("query", ["", "?permanent=true"])
def test_conditional_deletion_and_restoration_return_412_for_another_version(
    client: httpx.Client, with_trash: httpx.Client, owner: Account, stranger: Account, query: str
) -> None:
    for api in (client, with_trash):
        path = f"{FILES}/{make_file(client, owner)['id']}"
        stale = api.get(path, headers=owner.headers).headers["etag"]
        current = api.put(path, json={"description": "changed"}, headers=owner.headers).headers["etag"]

        for tag in (stale, f'"{"9" * 70}"'):
            assert_problem(api.delete(path + query, headers={**owner.headers, "If-Match": tag}), 412, "file_changed")
        assert_problem(api.delete(path, headers={**stranger.headers, "If-Match": stale}), 403, "file_forbidden")
        assert api.get(path, headers=owner.headers).json()["status"] == "available"
        assert api.delete(path + query, headers={**owner.headers, "If-Match": f"{stale}, {current}"}).status_code == 204
        gone = api.delete(path + query, headers={**owner.headers, "If-Match": current})
        if api is client or query:
            assert_problem(gone, 404, "file_not_found")
            continue
        assert_problem(gone, 412, "file_changed")
        assert_problem(api.post(f"{path}/restore", headers={**owner.headers, "If-Match": current}), 412, "file_changed")
        trashed = api.get(path, headers=owner.headers).headers["etag"]
        assert api.post(f"{path}/restore", headers={**owner.headers, "If-Match": trashed}).status_code == 200


# --- trash -----------------------------------------------------------------------------------------------------------


def test_deleted_file_is_restored_from_the_trash(with_trash: httpx.Client, services: Services, owner: Account, stranger: Account) -> None:
    file = make_file(with_trash, owner, is_public=True)
    path = f"{FILES}/{file['id']}"

    for _ in range(2):
        assert with_trash.delete(path, headers=owner.headers).status_code == 204

    assert list_names(with_trash, owner) == []
    assert list_names(with_trash, owner, status="trashed") == ["note.txt"]
    trashed = with_trash.get(path, headers=owner.headers).json()
    assert trashed["status"] == "trashed"
    assert trashed["purge_at"] > (clock.now() + timedelta(days=6)).isoformat()
    usage = with_trash.get("/api/v1/users/me/usage", headers=owner.headers).json()
    assert (usage["bytes_used"], usage["trash_bytes"], usage["trash_files"]) == (5, 5, 1)
    assert_problem(
        with_trash.get(f"{FILES}/download/{file['id']}", headers=owner.headers), 409, "file_not_available", file_status="trashed"
    )
    assert_problem(with_trash.get(f"{FILES}/download/{file['id']}", headers=stranger.headers), 403, "file_forbidden")
    assert_problem(with_trash.get(f"{FILES}/download/{file['id']}"), 401)
    assert_problem(with_trash.post(f"{path}/restore", headers=stranger.headers), 403, "file_forbidden")

    for _ in range(2):
        restored = with_trash.post(f"{path}/restore", headers=owner.headers)
        assert (restored.status_code, restored.json()["status"], restored.json()["purge_at"]) == (200, "available", None)
    assert with_trash.get(f"{FILES}/download/{file['id']}").status_code == 200


def test_permanent_deletion_bypasses_the_trash(with_trash: httpx.Client, services: Services, owner: Account) -> None:
    first, second = make_file(with_trash, owner), make_file(with_trash, owner)
    with_trash.delete(f"{FILES}/{first['id']}", headers=owner.headers)

    for file in (first, second):
        assert with_trash.delete(f"{FILES}/{file['id']}?permanent=true", headers=owner.headers).status_code == 204
        assert services.store.head(file["s3_key"]) is None
        assert_problem(with_trash.post(f"{FILES}/{file['id']}/restore", headers=owner.headers), 404, "file_not_found")


def test_file_that_was_never_available_is_not_trashed(with_trash: httpx.Client, owner: Account) -> None:
    file = make_file(with_trash, owner, status="pending")

    assert_problem(with_trash.post(f"{FILES}/{file['id']}/restore", headers=owner.headers), 409, "not_in_trash", file_status="pending")
    assert with_trash.delete(f"{FILES}/{file['id']}", headers=owner.headers).status_code == 204
    assert_problem(with_trash.get(f"{FILES}/{file['id']}", headers=owner.headers), 404, "file_not_found")


def test_deletion_by_a_stranger_or_a_second_time_is_refused(with_trash: httpx.Client, owner: Account, stranger: Account) -> None:
    file = make_file(with_trash, owner)

    assert_problem(with_trash.delete(f"{FILES}/{file['id']}", headers=stranger.headers), 403, "file_forbidden")
    with_trash.delete(f"{FILES}/{file['id']}?permanent=true", headers=owner.headers)
    assert_problem(with_trash.delete(f"{FILES}/{file['id']}", headers=owner.headers), 404, "file_not_found")
    assert_problem(with_trash.delete(f"{FILES}/{file['id']}?permanent=maybe", headers=owner.headers), 422)


# --- several statuses, ids, time of the last change ------------------------------------------------------------------


def test_list_has_the_files_with_one_of_several_statuses(with_trash: httpx.Client, owner: Account) -> None:
    make_file(with_trash, owner, status="pending", filename="pending")
    make_file(with_trash, owner, filename="available")
    trashed = make_file(with_trash, owner, filename="trashed")["id"]
    assert with_trash.delete(f"{FILES}/{trashed}", headers=owner.headers).status_code == 204

    for statuses in (["pending", "trashed"], ["available"], ["available", "pending", "available"], []):
        expected = set(statuses or ["available", "pending"])
        assert set(list_names(with_trash, owner, status=statuses)) == expected
    for invalid in (["pending", "deleting"], ["pending"] * 6, [""]):
        assert_problem(with_trash.get(FILES, params={"status": invalid}, headers=owner.headers), 422, "malformed_request")


def test_list_has_only_the_own_files_with_the_given_ids(client: httpx.Client, owner: Account, stranger: Account, admin: Account) -> None:
    first, second, third = (make_file(client, owner, status="pending", filename=name)["id"] for name in ("1", "2", "3"))
    foreign = make_file(client, stranger, is_public=True, filename="foreign")["id"]
    ids = [third, foreign, str(uuid4()), first, first]

    assert list_names(client, owner, ids=ids) == ["3", "1"]
    assert list_names(client, owner, ids=ids, q="1") == ["1"]
    assert list_names(client, stranger, ids=ids) == ["foreign"]
    assert list_names(client, admin, ids=ids) == []
    assert list_names(client, admin, ids=ids, all="true") == ["foreign", "3", "1"]
    assert list_names(client, owner, ids=[second], status="available") == []
    for invalid in ([str(uuid4()) for _ in range(101)], ["x"], [""]):
        assert_problem(client.get(FILES, params={"ids": invalid}, headers=owner.headers), 422, "malformed_request")
    conflicting = client.get(FILES, params={"ids": [first], "shared": "with_me"}, headers=owner.headers)
    assert_problem(conflicting, 422, "conflicting_filters")


def test_list_is_sorted_by_the_time_of_the_last_change(client: httpx.Client, owner: Account) -> None:
    first, second, third = (make_file(client, owner, status="pending", filename=name) for name in ("1", "2", "3"))
    client.patch(f"{FILES}/{first['id']}", json={"description": "new"}, headers=owner.headers)

    assert list_names(client, owner, sort="-updated") == ["1", "3", "2"]
    assert list_names(client, owner, sort="updated") == ["2", "3", "1"]
    assert list_names(client, owner, sort="-updated", updated_after=third["updated_at"]) == ["1", "3"]
    assert list_names(client, owner, updated_after=third["updated_at"]) == ["3", "1"]
    pages: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = client.get(FILES, params={"sort": "-updated", "limit": 1, **cursor}, headers=owner.headers)
        pages += [file["filename"] for file in response.json()]
        if "x-next-cursor" not in response.headers:
            break
        cursor = {"cursor": response.headers["x-next-cursor"]}
    assert pages == ["1", "3", "2"]
    assert_problem(client.get(FILES, params={"sort": "-created", **cursor}, headers=owner.headers), 422, "bad_cursor")
    assert second["updated_at"] < third["updated_at"]


def test_pending_file_has_the_time_and_the_kind_of_its_upload(client: httpx.Client, owner: Account) -> None:
    declared = {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 5}
    started = client.post(f"{FILES}/multipart", json=declared, headers=owner.headers).json()
    parts = client.get(f"{FILES}/{started['file_id']}", headers=owner.headers).json()
    pending, available = make_file(client, owner, status="pending"), make_file(client, owner)

    told = [(file["upload_expires_at"], file["is_multipart"], file["part_size_bytes"]) for file in (parts, available)]
    assert told == [(started["expires_at"], True, started["part_size_bytes"]), (None, False, None)]
    assert (pending["is_multipart"], pending["part_size_bytes"]) == (False, None)
    assert pending["upload_expires_at"] > pending["created_at"]
