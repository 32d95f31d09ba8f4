"""The environment of the API in a local run."""

import os
from pathlib import Path

import pytest

from infra.local.application import application_environment, application_settings, bucket_origins
from infra.local.object_store import BROWSER_ORIGINS, ObjectStoreServer
from infra.local.overrides import read_overrides
from infra.local.processes import Server
from infra.local.state import Secrets
from lambda_app.core.settings import Environment, Settings

SECRETS = Secrets(secret_key="k" * 48, postgres_password="p", superuser_password="s")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStoreServer:
    server = Server("S3", ["true"], log=tmp_path / "log")
    server.stop()
    return ObjectStoreServer("http://127.0.0.1:4566", "our-key", "our-secret", "eu-west-1", "we-upload-local", server)


def test_overrides_reach_the_api(monkeypatch: pytest.MonkeyPatch, store: ObjectStoreServer) -> None:
    monkeypatch.setenv("OPEN_REGISTRATION", "false")
    monkeypatch.setenv("PRESIGNED_URL_EXPIRATION", "60")

    settings = Settings.from_environment(application_settings(read_overrides(), SECRETS, "postgresql://127.0.0.1/x", store))

    assert (settings.open_registration, settings.presigned_url_expiration) == (False, 60)
    assert settings.environment is Environment.LOCAL
    assert (settings.s3_bucket_name, settings.aws_endpoint_url, settings.aws_region) == (
        "we-upload-local",
        "http://127.0.0.1:4566",
        "eu-west-1",
    )


def test_own_pages_and_configured_origins_can_use_the_bucket() -> None:
    own = ("http://127.0.0.1:8000", "http://localhost:8000")

    assert bucket_origins({}, 8000) == BROWSER_ORIGINS
    assert bucket_origins({"BACKEND_CORS_ORIGINS": "https://a.example.com, https://b.example.com"}, 8000) == (
        "https://a.example.com",
        "https://b.example.com",
        *own,
    )


def test_settings_of_another_project_and_the_aws_account_do_not_reach_the_api(
    monkeypatch: pytest.MonkeyPatch, store: ObjectStoreServer
) -> None:
    theirs = {
        "ENVIRONMENT": "prod",
        "DATABASE_URL": "postgresql://theirs/production",
        "DATABASE_IAM_AUTH": "true",
        "SECRET_KEY": "theirs",
        "S3_BUCKET_NAME": "theirs",
        "S3_PUBLIC_ENDPOINT_URL": "https://theirs.example.com",
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SESSION_TOKEN": "theirs",
        "AWS_PROFILE": "theirs",
        "AWS_ENDPOINT_URL_S3": "https://theirs.example.com",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)

    settings = application_settings(read_overrides(), SECRETS, "postgresql://127.0.0.1/x", store)
    environment = application_environment(settings)

    assert not [name for name, value in environment.items() if value == theirs.get(name)]
    assert environment["AWS_ACCESS_KEY_ID"] == "our-key"
    assert environment["AWS_CONFIG_FILE"] == os.devnull
