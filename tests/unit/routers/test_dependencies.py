"""Dependencies of routes: only those that block run in a worker thread, which costs 85 µs of processor time each under a server."""

import inspect
from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Environment, Settings
from lambda_app.dependencies.auth import BearerScheme, OptionalCaller, RequiredCaller
from lambda_app.dependencies.mail import get_outgoing_mail
from lambda_app.dependencies.services import get_session

BLOCKING = {get_session, get_outgoing_mail}
"""Functions that use the database or send mail."""
BLOCKING_SCHEMES = {OptionalCaller, RequiredCaller}
"""Security schemes that authenticate the caller in the database."""
OF_FASTAPI = {OAuth2PasswordRequestForm}


def dependencies_of(dependant: Dependant) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from dependencies_of(dependency)


def is_asynchronous(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - the method


def test_only_dependencies_that_block_run_in_a_worker_thread() -> None:
    settings = Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://u:p@127.0.0.1/d"),
        secret_key=SecretStr("k" * 40),
        s3_bucket_name="bucket",
    )
    routes = [route for route in create_app(settings).routes if isinstance(route, APIRoute)]

    calls = {call for route in routes for call in dependencies_of(route.dependant) if not is_asynchronous(call)}

    in_threads = {type(call) if isinstance(call, BearerScheme) else call for call in calls}
    assert in_threads == BLOCKING | BLOCKING_SCHEMES | OF_FASTAPI
