"""Fuzzing with schemathesis: requests are generated from the OpenAPI document, and each response is validated against it."""

import asyncio
import copy
import re
import secrets
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import schemathesis
from schemathesis.auths import AuthProvider
from schemathesis.config import GenerationConfig, SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import CheckNode, Interaction, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate
from tests.support.accounts import UNLIMITED_REGISTRAR
from tests.support.gateway import GatewayTransport, LambdaHandler, MakeEvent

PHASES = ("examples", "coverage", "fuzzing", "stateful")
ENDS_CREDENTIALS = ("/logout", "/sessions", "/users/")
"""Requests to these paths can end the caller's session or disable the account."""


class LambdaApp:
    """An ASGI application that converts each request to an API Gateway event and calls the Lambda handler.

    The handler runs in its own thread with its own event loop, as in Lambda.
    """

    def __init__(self, handler: LambdaHandler, make_event: MakeEvent) -> None:
        self._transport = GatewayTransport(handler, make_event)
        self._thread = ThreadPoolExecutor(1, initializer=lambda: asyncio.set_event_loop(asyncio.new_event_loop()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError("Lambda has no lifespan events")
        body = b""
        has_more = True
        while has_more:
            message = await receive()
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        url = httpx.URL("https://api.test").copy_with(raw_path=target)
        request = httpx.Request(scope["method"], url, headers=scope["headers"], content=body)
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._transport.handle_request, request)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": answer.read()})

    def close(self) -> None:
        """End the thread and its loop."""
        self._thread.submit(lambda: asyncio.get_event_loop().close()).result()
        self._thread.shutdown()


class Credentials:
    """A caller whose access token is replaced when a request may have invalidated it.

    It signs in through the services, not by a request: schemathesis calls it from threads without an event loop.
    """

    def __init__(self, services: Services, *, is_superuser: bool) -> None:
        self._services = services
        self._is_superuser = is_superuser
        self._token = self._sign_in()
        self._is_doubtful = False

    def get(self, case: schemathesis.Case[Any], _context: Any) -> str:
        """Return a valid token."""
        if self._is_doubtful and not self._is_good():
            self._token = self._sign_in()
        self._is_doubtful = any(part in case.path for part in ENDS_CREDENTIALS)
        return self._token

    def set(self, case: schemathesis.Case[Any], token: str, _context: Any) -> None:
        """Set the Authorization header."""
        case.headers["Authorization"] = f"Bearer {token}"

    def _is_good(self) -> bool:
        try:
            with self._services.unit_of_work() as session:
                user = self._services.authentication(session).authenticate(self._token, scope=None)
                return user.is_superuser == self._is_superuser
        except AppError:
            return False

    def _sign_in(self) -> str:
        registration = UserCreate(email=f"fuzz-{uuid4()}@example.com", password=secrets.token_urlsafe(12))
        with self._services.unit_of_work() as session:
            accounts = self._services.users(session)
            if self._is_superuser:
                accounts.create_superuser(registration)
            else:
                accounts.register(registration, registrar=UNLIMITED_REGISTRAR)
        with self._services.unit_of_work() as session:
            return self._services.sessions(session).sign_in(email=registration.email, password=registration.password).access_token.value


@dataclass
class Outcome:
    """The requests that were sent, and the failures."""

    cases: Counter[str] = field(default_factory=Counter)
    """Requests sent, by phase."""
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    tolerated: Counter[str] = field(default_factory=Counter)
    """Findings that are not defects, by check; see `_is_beyond_the_document` and `_is_another_operation`."""
    failures: dict[str, str] = field(default_factory=dict)
    """One example of each kind of failure: the failed check, and a request that reproduces it."""

    @property
    def requests(self) -> int:
        """The number of requests that were sent."""
        return sum(self.cases.values())

    def report(self) -> str:
        """Return the numbers, and each failure with its request."""
        counted = {name: dict(sorted(getattr(self, name).items())) for name in ("cases", "statuses", "tolerated")}
        return "\n".join([f"{self.requests} requests, {counted}", *(f"{label}\n    {shown}" for label, shown in self.failures.items())])


class Fuzzer:
    """Sends valid and invalid requests, alone and in sequences, and validates every response against the OpenAPI document."""

    def __init__(self, app: ASGIApp, document: dict[str, Any], credentials: AuthProvider[str]) -> None:
        self._app = app
        self._document = copy.deepcopy(document)
        for scheme in self._document["components"].get("securitySchemes", {}).values():
            # Both schemes use the same header, but schemathesis tests for ignored credentials only with `http`.
            if scheme["type"] == "oauth2":
                scheme.clear()
                scheme.update(type="http", scheme="bearer")
        # schemathesis needs a class and instantiates it.
        self._provider = type("Provider", (), {"get": staticmethod(credentials.get), "set": staticmethod(credentials.set)})
        self.outcome = Outcome()

    def run(self, *, seed: int, max_examples: int, phases: Collection[str] = PHASES) -> None:
        """Send `max_examples` requests to each operation, and as many sequences; the coverage phase derives its own requests."""
        config = SchemathesisConfig(seed=seed)
        config.projects.default.generation = GenerationConfig(max_examples=max_examples, database="none")
        for name in PHASES:
            getattr(config.projects.default.phases, name).enabled = name in phases
        schema = schemathesis.openapi.from_dict(self._document, config=config)
        schema.app = self._app
        schema.auth(refresh_interval=None)(self._provider)
        for event in from_schema(schema).execute():
            if isinstance(event, ScenarioFinished):
                self._record(event)
            elif isinstance(event, NonFatalError):
                self.outcome.failures[f"{event.label}: {event.value!r}"] = str(event.value)
            elif isinstance(event, FatalError):
                raise event.exception

    def _record(self, event: ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            self.outcome.cases[event.phase] += 1
            self.outcome.operations[recorder.cases[case_id].value.operation.label] += 1
            if interaction.response is not None:
                self.outcome.statuses[interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            interaction = recorder.interactions[case_id]
            for check in checks:
                if check.status is Status.FAILURE and check.failure_info is not None:
                    self._judge(check, recorder.cases[case_id].value, interaction)

    def _judge(self, check: CheckNode, case: schemathesis.Case[Any], interaction: Interaction) -> None:
        info, answer = check.failure_info, interaction.response
        if info is None or answer is None:
            raise TypeError("A failure without an answer")
        if (
            (check.name == "positive_data_acceptance" and _is_beyond_the_document(case, answer))
            or (check.name == "negative_data_rejection" and _is_null_for_an_optional_body(case))
            or (check.name == "unsupported_method" and _is_another_operation(case, interaction.request))
        ):
            self.outcome.tolerated[check.name] += 1
            return
        label = f"{case.operation.label} [{check.name}] {info.failure.title}: {info.failure.message}"
        self.outcome.failures.setdefault(label, f"{info.code_sample} -> {answer.status_code} {answer.text}")


def _is_beyond_the_document(case: schemathesis.Case[Any], answer: Response) -> bool:
    """Return whether a valid request was refused because of a rule that JSON Schema cannot express."""
    if answer.status_code in (410, 412, 413):  # expired, changed, or over a limit
        return str(answer.status_code) in case.operation.definition.raw["responses"]
    problem = answer.json()
    if problem["code"] in ("expired_token", "authorization_pending"):  # RFC 8628 has status 400 for them
        return True
    if answer.status_code != 422 or problem["code"] != "malformed_request":  # for example a common password or an invalid cursor
        return bool(answer.status_code == 422)
    rules = {error["type"] for error in problem.get("errors", [{"type": "none is named"}])}
    if case.media_type == "application/x-www-form-urlencoded":
        rules.discard("missing")  # an empty field of a form counts as absent
    if isinstance(case.body, dict) and any(isinstance(value, int) and value > 2**53 for value in case.body.values()):
        rules.discard("less_than_equal")  # the document holds bounds as floating-point numbers, which are inexact above 2**53
    # Custom validators, for example for addresses and control characters; and 1.0, which JSON Schema accepts as an integer.
    return rules <= {"value_error", "int_type"}


def _is_null_for_an_optional_body(case: schemathesis.Case[Any]) -> bool:
    """Return whether the body is null where it can be left out: older clients send null, and the document no longer offers it."""
    return case.body is None and not case.operation.definition.raw.get("requestBody", {}).get("required", False)


def _is_another_operation(case: schemathesis.Case[Any], request: Request) -> bool:
    """Return whether the path matches another operation that has the method: /files/upload also matches /files/{file_id}."""
    path = urlsplit(request.uri).path
    for template, methods in case.operation.schema.raw_schema["paths"].items():
        pattern = re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template))
        if request.method.lower() in methods and re.fullmatch(pattern, path):
            return True
    return False
