"""Requests made up from our own OpenAPI document, sent through every door, each answer held to the document (schemathesis)."""

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
from tests.support.gateway import GatewayTransport, LambdaHandler, MakeEvent

PHASES = ("examples", "coverage", "fuzzing", "stateful")
ENDS_CREDENTIALS = ("/logout", "/sessions", "/users/")
"""Requests to such paths may end the session of the caller, or the caller."""


class LambdaDoor:
    """An ASGI application that turns each request into an API Gateway event and asks the Lambda handler.

    The handler has a thread of its own, with the event loop that Lambda would have.
    """

    def __init__(self, handler: LambdaHandler, make_event: MakeEvent) -> None:
        self._transport = GatewayTransport(handler, make_event)
        self._thread = ThreadPoolExecutor(1, initializer=lambda: asyncio.set_event_loop(asyncio.new_event_loop()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError("Lambda knows no lifespan")
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
    """A caller whose token is renewed as soon as a request may have ended it.

    By the services and not by a request: schemathesis asks from threads of its own, which have no event loop.
    """

    def __init__(self, services: Services, *, is_superuser: bool) -> None:
        self._services = services
        self._is_superuser = is_superuser
        self._token = self._sign_in()
        self._is_doubtful = False

    def get(self, case: schemathesis.Case[Any], _context: Any) -> str:
        """Return a token that holds."""
        if self._is_doubtful and not self._is_good():
            self._token = self._sign_in()
        self._is_doubtful = any(part in case.path for part in ENDS_CREDENTIALS)
        return self._token

    def set(self, case: schemathesis.Case[Any], token: str, _context: Any) -> None:
        """Put it where a caller does."""
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
                accounts.register(registration, registrar=None)
        with self._services.unit_of_work() as session:
            return self._services.sessions(session).sign_in(email=registration.email, password=registration.password).access_token.value


@dataclass
class Outcome:
    """What was sent and what was wrong with the answers."""

    cases: Counter[str] = field(default_factory=Counter)
    """Requests sent, by phase."""
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    tolerated: Counter[str] = field(default_factory=Counter)
    """Findings that are no defects, by check; `_is_beyond_the_document` and `_is_another_operation` say why."""
    failures: dict[str, str] = field(default_factory=dict)
    """One example of each kind of failure: what failed, and the request that shows it."""

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return sum(self.cases.values())

    def report(self) -> str:
        """Return the numbers, and each failure with its request."""
        counted = {name: dict(sorted(getattr(self, name).items())) for name in ("cases", "statuses", "tolerated")}
        return "\n".join([f"{self.requests} requests, {counted}", *(f"{label}\n    {shown}" for label, shown in self.failures.items())])


class Fuzzer:
    """Sends requests that follow the document and requests that break it, alone and in chains, and holds every answer to it."""

    def __init__(self, app: ASGIApp, document: dict[str, Any], credentials: AuthProvider[str]) -> None:
        self._app = app
        self._document = copy.deepcopy(document)
        for scheme in self._document["components"].get("securitySchemes", {}).values():
            # On the wire they are the same, and schemathesis looks for ignored credentials of the second kind only.
            if scheme["type"] == "oauth2":
                scheme.clear()
                scheme.update(type="http", scheme="bearer")
        # schemathesis makes the provider itself, from a class.
        self._provider = type("Provider", (), {"get": staticmethod(credentials.get), "set": staticmethod(credentials.set)})
        self.outcome = Outcome()

    def run(self, *, seed: int, max_examples: int, phases: Collection[str] = PHASES) -> None:
        """Try each operation `max_examples` times, and as many chains; the coverage phase tries what it finds in the document."""
        config = SchemathesisConfig(seed=seed)
        config.projects.default.generation = GenerationConfig(max_examples=max_examples, database="none")
        for name in PHASES:
            getattr(config.projects.default.phases, name).enabled = name in phases
        schema = schemathesis.openapi.from_dict(self._document, config=config)
        schema.app = self._app
        schema.auth(refresh_interval=None)(self._provider)
        for event in from_schema(schema).execute():
            if isinstance(event, ScenarioFinished):
                self._look_at(event)
            elif isinstance(event, NonFatalError):
                self.outcome.failures[f"{event.label}: {event.value!r}"] = str(event.value)
            elif isinstance(event, FatalError):
                raise event.exception

    def _look_at(self, event: ScenarioFinished) -> None:
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
        if (check.name == "positive_data_acceptance" and _is_beyond_the_document(case, answer)) or (
            check.name == "unsupported_method" and _is_another_operation(case, interaction.request)
        ):
            self.outcome.tolerated[check.name] += 1
            return
        label = f"{case.operation.label} [{check.name}] {info.failure.title}: {info.failure.message}"
        self.outcome.failures.setdefault(label, f"{info.code_sample} -> {answer.status_code} {answer.text}")


def _is_beyond_the_document(case: schemathesis.Case[Any], answer: Response) -> bool:
    """Whether a refusal of what the document allows rests on something that a JSON schema cannot say."""
    if answer.status_code in (410, 412, 413):  # what is gone, changed, or too much
        return str(answer.status_code) in case.operation.definition.raw["responses"]
    problem = answer.json()
    if answer.status_code != 422 or problem["code"] != "malformed_request":  # a guessable password, a cursor that is not ours
        return bool(answer.status_code == 422)
    rules = {error["type"] for error in problem.get("errors", [{"type": "none is named"}])}
    if case.media_type == "application/x-www-form-urlencoded":
        rules.discard("missing")  # an empty field of a form counts as absent
    # Rules of our own, such as those for addresses and control characters; and 1.0, which for a JSON schema is an integer.
    return rules <= {"value_error", "int_type"}


def _is_another_operation(case: schemathesis.Case[Any], request: Request) -> bool:
    """Whether a path that does not know the method is another operation's too: /files/upload is also /files/{file_id}."""
    path = urlsplit(request.uri).path
    for template, methods in case.operation.schema.raw_schema["paths"].items():
        pattern = re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template))
        if request.method.lower() in methods and re.fullmatch(pattern, path):
            return True
    return False
