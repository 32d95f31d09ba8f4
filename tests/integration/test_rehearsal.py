"""The rehearsal before a SnapStart snapshot: it fills the caches, opens no connection, and leaves the application as it was."""

import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Environment, Settings
from lambda_app.factory import Services
from lambda_app.repositories.files.caller_files import file_statements
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.routers.http.rehearsal import RehearsalFailedError, rehearse


@pytest.fixture
def settings() -> Settings:
    """Settings whose database and bucket do not exist."""
    return Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://user:secret@127.0.0.1:1/nothing"),
        secret_key=SecretStr("a key of at least thirty-two characters"),
        s3_bucket_name="bench-bucket",
        aws_region="us-east-1",
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    services = Services.build(settings)
    yield create_app(settings, services)
    services.engine.dispose()


@pytest.fixture
def handler(app: FastAPI) -> GatewayHandler:
    return GatewayHandler(app)


def test_rehearsal_compiles_the_statements_and_restores_the_services(app: FastAPI, handler: GatewayHandler) -> None:
    services, disabled = app.state.services, logging.root.manager.disable

    rehearse(app, handler)

    assert app.state.services is services
    assert logging.root.manager.disable == disabled
    assert services.engine.pool.checkedin() == 0
    assert any("sql" in vars(statement) for statement in file_statements())


def test_incomplete_rehearsal_is_reported(app: FastAPI, handler: GatewayHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    services = app.state.services
    monkeypatch.setattr(Services, "caller_files", lambda _: 1 / 0)

    with pytest.raises(RehearsalFailedError, match="returned 500"):
        rehearse(app, handler)

    assert app.state.services is services


def test_rehearsed_tokens_are_not_valid_afterwards(app: FastAPI, handler: GatewayHandler) -> None:
    rehearsal = app.state.services.for_rehearsal()
    again = app.state.services.for_rehearsal()

    assert rehearsal.keys.current().secret not in (again.keys.current().secret, app.state.services.keys.current().secret)
    assert rehearsal.aws.credentials().access_key == "rehearsal"
    assert rehearsal.origin_verifier is None
