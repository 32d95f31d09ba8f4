"""Sign-in and the access token's way through the API."""

import time
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
import time_machine

from lambda_app.core import clock
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, start_upload
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.problems import assert_problem, assert_unauthenticated


def disable(services: Services, account: Account) -> None:
    with services.unit_of_work() as session:
        session.get_one(User, account.id).is_active = False


def test_password_is_exchanged_for_a_bearer_token(client: httpx.Client, owner: Account) -> None:
    answer = client.post("/api/v1/login/token", data={"username": owner.email.upper(), "password": owner.password})

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 600
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_token_shows_its_owner(client: httpx.Client, owner: Account, prefix: str) -> None:
    token = client.post(f"{prefix}/login/token", data={"username": owner.email, "password": owner.password}).json()["access_token"]

    answer = client.post(f"{prefix}/login/test-token", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200
    assert answer.json()["email"] == owner.email
    assert "hashed_password" not in answer.json()


def test_token_check_needs_a_token(client: httpx.Client) -> None:
    assert_unauthenticated(client.post("/login/test-token"))


def test_unknown_wrong_and_disabled_look_the_same(client: httpx.Client, services: Services, owner: Account) -> None:
    wrong = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password + "x"})
    unknown = client.post("/api/v1/login/token", data={"username": "nobody@example.com", "password": owner.password})
    no_address = client.post("/api/v1/login/token", data={"username": "no address", "password": owner.password})
    too_long = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password + "x" * 5000})
    disable(services, owner)
    disabled = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})

    answers = (wrong, unknown, no_address, too_long, disabled)
    for answer in answers:
        assert_problem(answer, 401, "bad_credentials", headers={"www-authenticate": "Bearer"})
    shown = [{**answer.json(), "request_id": None} for answer in answers]
    assert all(body == shown[0] for body in shown)


def test_password_is_verified_once_whoever_asks(
    client: httpx.Client, services: Services, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, disabled = make_user(), make_user()
    disable(services, disabled)
    verified: list[str | None] = []
    real = PasswordHasher.verify

    def verify(hasher: PasswordHasher, password: str, hashed_password: str | None) -> bool:
        verified.append(hashed_password)
        return real(hasher, password, hashed_password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)

    for email in (known.email, disabled.email, "nobody@example.com", "no address"):
        client.post("/api/v1/login/token", data={"username": email, "password": "wrong-password"})

    assert [hashed is None for hashed in verified] == [False, False, True, True]


def test_disabled_user_is_refused_on_the_next_request(client: httpx.Client, services: Services, owner: Account) -> None:
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 200

    disable(services, owner)

    assert_unauthenticated(client.get("/api/v1/users/me", headers=owner.headers))
    assert_unauthenticated(client.get("/api/v1/files", headers=owner.headers))


@pytest.mark.timing
def test_address_of_combining_marks_is_not_worked_on(client: httpx.Client) -> None:
    """Normalising 240 kB of them would keep the whole process busy for 12 s."""
    started_at = time.monotonic()

    answer = client.post("/api/v1/login/token", files={"username": (None, "a" + "\u0301\u0323" * 60_000), "password": (None, "x")})

    assert_problem(answer, 401, "bad_credentials")
    assert time.monotonic() - started_at < 2


def test_two_proofs_of_identity_are_none(client: httpx.Client, handler: GatewayHandler, owner: Account) -> None:
    headers = [("Authorization", f"Bearer {owner.token}"), ("Authorization", f"Bearer {owner.token}")]
    rest = httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="https://api.test")

    assert_unauthenticated(client.get("/api/v1/users/me", headers=headers))
    assert_unauthenticated(rest.get("/api/v1/users/me", headers=headers))


def test_deleted_user_is_refused_on_the_next_request(client: httpx.Client, services: Services, owner: Account) -> None:
    with services.unit_of_work() as session:
        session.delete(session.get_one(User, owner.id))

    assert_unauthenticated(client.get("/api/v1/users/me", headers=owner.headers))


def test_expired_token_is_refused(client: httpx.Client, owner: Account) -> None:
    with time_machine.travel(clock.now() + timedelta(minutes=10, seconds=1), tick=False):
        answer = client.get("/api/v1/users/me", headers=owner.headers)

    assert_unauthenticated(answer)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwdw==",
        "bearer x",
        "Bearer " + "[" * 1400,
        "Bearer a.b.c",
        "Bearer a b",
        "Bearer " + "x" * 8000,
    ],
)
def test_header_that_proves_nothing_is_refused(client: httpx.Client, header: str) -> None:
    assert_unauthenticated(client.get("/api/v1/users/me", headers={"Authorization": header}))


@pytest.mark.parametrize("header", ["Basic x", "Bearer", "Bearer ", "Bearer x"])
def test_broken_credentials_are_not_taken_for_none(client: httpx.Client, owner: Account, header: str) -> None:
    """A public route must not serve a caller with a bad token as an anonymous one."""
    path = f"/api/v1/files/download/{start_upload(client, owner, is_public=True)['file_id']}"

    # It may be read by anybody, and is not there yet.
    assert client.get(path).status_code == 409
    assert_unauthenticated(client.get(path, headers={"Authorization": header}))


@pytest.mark.parametrize(
    "form",
    [{}, {"username": "a"}, {"password": "b"}, {"username": "a", "password": "b", "grant_type": "client_credentials"}],
)
def test_incomplete_form_is_refused(client: httpx.Client, form: dict[str, str]) -> None:
    assert_problem(client.post("/api/v1/login/token", data=form), 422, "malformed_request")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=%00&password=%ED%A0%80"),
        ("application/x-www-form-urlencoded", b"username=\xff\xfe&password=\xff"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n\xff\r\n--b--\r\n'),
        ("multipart/form-data", b"--b"),
        ("multipart/form-data; boundary=b", b"garbage"),
        (
            "multipart/form-data; boundary=b; charset=nonsense",
            b'--b\r\nContent-Disposition: form-data; name="username"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="username"; filename="f"\r\n\r\nx\r\n--b--\r\n'),
        ("application/json", b'{"username": "a", "password": "b"}'),
        ("", b"username=a&password=b"),
    ],
)
def test_hostile_form_is_refused_and_the_next_request_is_right(
    client: httpx.Client, owner: Account, content_type: str, body: bytes
) -> None:
    answer = client.post("/api/v1/login/token", content=body, headers={"Content-Type": content_type})

    assert answer.status_code in (400, 401, 422), answer.text
    assert_problem(answer, answer.status_code)
    assert client.get("/api/v1/users/me", headers=owner.headers).json()["email"] == owner.email
