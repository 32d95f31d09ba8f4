"""Credentials of requests whose own statement authenticates the caller (docs/adr/0030-one-trip-requests.md).

The dependency only reads the header. The service of the route decodes the credential and executes the statement, in one worker thread or,
if it only reads, on the event loop.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from lambda_app.core.errors import AppError, NotAuthenticatedError
from lambda_app.db.compiled import Steps
from lambda_app.db.loop_reader import LoopReader
from lambda_app.dependencies.auth import BearerScheme
from lambda_app.dependencies.inline_threadpool import is_inline
from lambda_app.dependencies.scopes import is_enrolment, scope_of
from lambda_app.dependencies.worker_threads import WorkerThreads
from lambda_app.factory import Services
from lambda_app.services.accounts.callers import SubmittedCredential

P = ParamSpec("P")
T = TypeVar("T")

STATEMENT_THREADS = 40
"""Worker threads of these requests. Each holds a connection only while it has a thread, so they cannot block those of `SessionDep`."""

_SUBMITTED = "we_upload.credential"
_threads = WorkerThreads(STATEMENT_THREADS)
_scope_of = lru_cache(maxsize=512)(scope_of)
_is_enrolment = lru_cache(maxsize=512)(is_enrolment)


class OptionalCredential(BearerScheme):
    """Returns the credential of the request, not checked yet, or None for an anonymous caller."""

    async def __call__(self, request: HTTPConnection) -> Any:
        """Return the credential. Raises NotAuthenticatedError when the header is present but is not exactly one bearer token."""
        text = self.read_token(request)
        if text is None:
            return None
        method, route = request.scope["method"], request.scope["route"].path
        submitted = SubmittedCredential(text, _scope_of(method, route), _is_enrolment(method, route))
        request.scope[_SUBMITTED] = submitted
        return submitted


class RequiredCredential(OptionalCredential):
    """Returns the credential of the request, not checked yet."""

    async def __call__(self, request: HTTPConnection) -> Any:
        """Return the credential. Raises NotAuthenticatedError."""
        submitted = await super().__call__(request)
        if submitted is None:
            raise NotAuthenticatedError("Not authenticated")
        return submitted


def services_of(request: Request) -> Services:
    """Return the services that `create_app` stored in the application."""
    services: Services = request.app.state.services
    return services


async def refusal_before(request: Request) -> AppError | None:
    """Return the error of the caller's credential, if an error ended the request before its statement could check the credential.

    A caller without a valid credential must not learn about other errors of the request.
    """
    submitted: SubmittedCredential | None = request.scope.get(_SUBMITTED)
    if submitted is None or submitted.is_checked:
        return None
    try:
        await run_statement(services_of(request).callers().authenticate, submitted)
    except AppError as error:
        return error
    return None


def create_loop_reader(services: Services) -> LoopReader | None:
    """Return the reader for a server whose event loop serves all requests; None if its credentials cannot be read without blocking."""
    return LoopReader(services.engine, run_in_thread=_threads.run) if services.keys.is_fixed else None


async def run_steps(request: Request, submitted: SubmittedCredential, steps: Steps[T]) -> T:
    """Complete the steps on the event loop if it can execute their statement, else in a worker thread; within Lambda in this thread."""
    complete = services_of(request).complete
    if is_inline():
        return complete(steps)
    reader: LoopReader | None = request.app.state.loop_reader
    if reader is not None and not submitted.records_use:
        return await reader.complete(steps)
    return await _threads.run(partial(complete, steps))


async def run_statement(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call the function, which executes a statement, in a worker thread; within Lambda in this thread."""
    if is_inline():
        return function(*arguments, **keywords)
    return await _threads.run(partial(function, *arguments, **keywords))


CredentialDep = Annotated[SubmittedCredential | None, Depends(OptionalCredential())]
RequiredCredentialDep = Annotated[SubmittedCredential, Depends(RequiredCredential())]
