"""Sign-in, and requests with an access token."""

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
    response = client.post("/api/v1/login/token", data={"username": owner.email.upper(), "password": owner.password})

    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 600
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_test_token_returns_the_user(client: httpx.Client, owner: Account, prefix: str) -> None:
    token = client.post(f"{prefix}/login/token", data={"username": owner.email, "password": owner.password}).json()["access_token"]

    response = client.post(f"{prefix}/login/test-token", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 200
    assert response.json()["email"] == owner.email
    assert "hashed_password" not in response.json()


def test_test_token_requires_an_access_token(client: httpx.Client) -> None:
    assert_unauthenticated(client.post("/login/test-token"))


def test_unknown_wrong_and_disabled_return_the_same_response(client: httpx.Client, services: Services, owner: Account) -> None:
    wrong = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password + "x"})
    unknown = client.post("/api/v1/login/token", data={"username": "unknown@example.com", "password": owner.password})
    no_address = client.post("/api/v1/login/token", data={"username": "no address", "password": owner.password})
    too_long = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password + "x" * 5000})
    disable(services, owner)
    disabled = client.post("/api/v1/login/token", data={"username": owner.email, "password": owner.password})

    responses = (wrong, unknown, no_address, too_long, disabled)
    for response in responses:
        assert_problem(response, 401, "bad_credentials", headers={"www-authenticate": "Bearer"})
    bodies = [{**response.json(), "request_id": None} for response in responses]
    assert all(body == bodies[0] for body in bodies)


def test_password_is_verified_once_for_known_and_unknown_users(
    client: httpx.Client, services: Services, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, disabled = make_user(), make_user()
    disable(services, disabled)
    verified: list[str | None] = []
    original = PasswordHasher.verify

    def verify(hasher: PasswordHasher, password: str, hashed_password: str | None) -> bool:
        verified.append(hashed_password)
        return original(hasher, password, hashed_password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)

    for email in (known.email, disabled.email, "unknown@example.com", "no address"):
        client.post("/api/v1/login/token", data={"username": email, "password": "wrong-password"})

    assert [hashed is None for hashed in verified] == [False, False, True, True]


def test_disabled_user_is_refused_on_the_next_request(client: httpx.Client, services: Services, owner: Account) -> None:
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 200

    disable(services, owner)

    assert_unauthenticated(client.get("/api/v1/users/me", headers=owner.headers))
    assert_unauthenticated(client.get("/api/v1/files", headers=owner.headers))


@pytest.mark.timing
def test_email_of_combining_marks_is_not_normalised(client: httpx.Client) -> None:
    """Normalising 240 kB of combining marks would block the process for 12 s."""
    started_at = time.monotonic()

    response = client.post("/api/v1/login/token", files={"username": (None, "a" + "\u0301\u0323" * 60_000), "password": (None, "x")})

    assert_problem(response, 401, "bad_credentials")
    assert time.monotonic() - started_at < 2


def test_two_authorization_headers_are_refused(client: httpx.Client, handler: GatewayHandler, owner: Account) -> None:
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
        response = client.get("/api/v1/users/me", headers=owner.headers)

    assert_unauthenticated(response)


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
def test_malformed_authorization_header_is_refused(client: httpx.Client, header: str) -> None:
    assert_unauthenticated(client.get("/api/v1/users/me", headers={"Authorization": header}))


@pytest.mark.parametrize("header", ["Basic x", "Bearer", "Bearer ", "Bearer x"])
def test_public_file_refuses_malformed_credentials(client: httpx.Client, owner: Account, header: str) -> None:
    """A public route must not serve a caller with a bad token as an anonymous one."""
    path = f"/api/v1/files/download/{start_upload(client, owner, is_public=True)['file_id']}"

    # Anonymous callers may download the file, but the upload is not complete.
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
def test_hostile_form_is_refused_and_the_next_request_succeeds(
    client: httpx.Client, owner: Account, content_type: str, body: bytes
) -> None:
    response = client.post("/api/v1/login/token", content=body, headers={"Content-Type": content_type})

    is_form = content_type.startswith(("application/x-www-form-urlencoded", "multipart/form-data"))
    assert response.status_code in ((400, 401, 422) if is_form else (415,)), response.text
    assert_problem(response, response.status_code)
    assert client.get("/api/v1/users/me", headers=owner.headers).json()["email"] == owner.email
