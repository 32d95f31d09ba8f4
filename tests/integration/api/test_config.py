"""The public configuration."""

import httpx
import pytest

from lambda_app import __version__
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem


def test_configuration_is_public(client: httpx.Client, settings: Settings) -> None:
    response = client.get("/api/v1/config")

    assert response.status_code == 200
    assert response.json() == {
        "version": __version__,
        "registration_open": True,
        "mail_available": settings.can_send_mail,
        "password_sign_in": True,
        "sign_in_providers": [],
        "invitations_by_users": False,
        "second_factor_required_for": "",
        "email_verification_required": False,
        "trash_retention_days": 0,
        "single_upload_max_bytes": 5 * 1024**3,
        "file_max_bytes": 5 * 1024**3 * 10_000,
        "part_min_bytes": 8 * 1024**2,
        "part_max_bytes": 5 * 1024**3,
        "parts_max_count": 10_000,
        "default_quota_bytes": settings.user_quota_bytes,
        "default_quota_files": settings.user_quota_files,
        "brand_name": "We-Upload",
        "brand_accent": None,
        "brand_logo_path": None,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"open_registration": False}, {"registration_open": False}),
        ({"mail_folder": "/nowhere", "require_verified_email": True}, {"mail_available": True, "email_verification_required": True}),
        ({"trash_retention_days": 7}, {"trash_retention_days": 7}),
        ({"user_quota_bytes": 5, "user_quota_files": 3}, {"default_quota_bytes": 5, "default_quota_files": 3}),
    ],
)
def test_configuration_follows_the_settings(settings: Settings, changes: dict[str, object], expected: dict[str, object]) -> None:
    changed = settings.model_copy(update=changes)
    services = Services.build(changed)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(changed, services))), base_url="https://api.test") as client:
        answer = client.get("/api/v1/config").json()
    services.engine.dispose()

    assert {name: answer[name] for name in expected} == expected


def test_unknown_parameter_is_refused(client: httpx.Client) -> None:
    assert_problem(client.get("/api/v1/config?version=1"), 422)
