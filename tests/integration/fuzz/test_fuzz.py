"""Requests generated from the OpenAPI document find server errors, responses that the document does not allow, and ignored credentials.

`FUZZ_SEED` repeats a run. `FUZZ_CASES` sets the total number of requests (`make fuzz`).
"""

import os
import random
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.fuzzing import PHASES, Credentials, Fuzzer, LambdaApp
from tests.support.gateway import payload_v1, payload_v2

CASES = int(os.environ.get("FUZZ_CASES", "0"))
"""Total number of requests; 0 runs one short round."""
SEED = int(os.environ.get("FUZZ_SEED", "7" if os.environ.get("CI") else str(random.getrandbits(32))))
ENTRY_POINTS = ("asgi", "payload 1.0", "payload 2.0")
EXAMPLES = 2 if CASES == 0 else 25
SHORT_PHASES = {"asgi": PHASES, "payload 1.0": ("fuzzing", "stateful"), "payload 2.0": ("fuzzing", "stateful")}
"""The coverage phase sends the same requests to every entry point, so a short round runs it once."""


@pytest.fixture(scope="module")
def fuzzed(settings: Settings, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """The application with a mailer, so that no route returns 503 because of a missing setting."""
    changes: dict[str, Any] = {"mail_folder": str(tmp_path_factory.mktemp("mail"))}
    if CASES:
        changes["log_level"] = "CRITICAL"  # a hundred thousand lines of access log
    fuzz_settings = settings.model_copy(update=changes)
    built = Services.build(fuzz_settings)
    yield create_app(fuzz_settings, built)
    built.engine.dispose()


@pytest.fixture(params=ENTRY_POINTS)
def entry_point(request: pytest.FixtureRequest, fuzzed: FastAPI) -> Iterator[tuple[str, Any]]:
    """The name of an entry point, and an ASGI application that calls it."""
    if request.param == "asgi":
        yield request.param, fuzzed
        return
    lambda_app = LambdaApp(GatewayHandler(fuzzed), payload_v1 if request.param == "payload 1.0" else payload_v2)
    yield request.param, lambda_app
    lambda_app.close()


@pytest.mark.slow
def test_every_response_is_allowed_by_the_document(entry_point: tuple[str, Any], fuzzed: FastAPI) -> None:
    name, app = entry_point
    document = fuzzed.openapi()
    # Some routes accept superusers only; others refuse them.
    fuzzers = [Fuzzer(app, document, Credentials(fuzzed.state.services, is_superuser=is_superuser)) for is_superuser in (True, False)]
    if not CASES:
        del fuzzers[1 if name == "asgi" else 0]
    started_at = time.monotonic()
    rounds = 0
    while rounds == 0 or sum(fuzzer.outcome.requests for fuzzer in fuzzers) < CASES / len(ENTRY_POINTS):
        for fuzzer in fuzzers:
            fuzzer.run(seed=SEED + rounds, max_examples=EXAMPLES, phases=PHASES if CASES else SHORT_PHASES[name])
        rounds += 1
    print(f"\n{name}: {rounds} rounds in {time.monotonic() - started_at:.0f} s; FUZZ_SEED={SEED}")
    for fuzzer in fuzzers:
        print(fuzzer.outcome.report())

    assert [failure for fuzzer in fuzzers for failure in fuzzer.outcome.failures] == []
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert operations <= {operation for fuzzer in fuzzers for operation in fuzzer.outcome.operations}


class Declared(BaseModel):
    """The declared response body of the faulty routes."""

    number: int


class AnyToken:
    """Credentials for a route that ignores them."""

    def get(self, case: Any, context: Any) -> str:
        return "token"

    def set(self, case: Any, token: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {token}"


@pytest.mark.slow
def test_fuzzer_finds_faulty_routes() -> None:
    app = FastAPI(redirect_slashes=False)
    scheme = OAuth2PasswordBearer("token", auto_error=False)

    @app.get("/broken/{number}", response_model=Declared, responses={500: {}})
    def broken(number: int) -> Response:
        return JSONResponse({"number": 1}, status_code=500 if number == 0 else 200)

    @app.get("/wrong-type", responses={200: {"model": Declared}})
    def wrong_type() -> Any:
        return {"number": "one"}

    @app.get("/open", response_model=Declared)
    def unguarded(_token: Annotated[str | None, Depends(scheme)]) -> dict[str, int]:
        return {"number": 1}

    fuzzer = Fuzzer(app, app.openapi(), AnyToken())
    fuzzer.run(seed=1, max_examples=30, phases=("coverage", "fuzzing"))

    found = {label.partition("]")[0] + "]" for label in fuzzer.outcome.failures}
    assert {
        "GET /broken/{number} [not_a_server_error]",
        "GET /wrong-type [response_schema_conformance]",
        "GET /open [ignored_auth]",
    } <= found
