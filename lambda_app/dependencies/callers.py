"""Credentials of requests whose own statement authenticates the caller (docs/adr/0034-one-trip-requests.md).

The dependency only reads the header. The service of the route decodes the credential and executes the statement, in one worker thread.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi import Depends, Request

from lambda_app.core.errors import AppError, NotAuthenticatedError
from lambda_app.dependencies.auth import TokenDep
from lambda_app.dependencies.scopes import scope_of
from lambda_app.factory import Services
from lambda_app.services.accounts.callers import SubmittedCredential

P = ParamSpec("P")
T = TypeVar("T")

STATEMENT_THREADS = 40
"""Worker threads of these requests. Each holds a connection only while it has a thread, so they cannot block those of `SessionDep`."""

_SUBMITTED = "we_upload.credential"
_limiter: RunVar[CapacityLimiter] = RunVar("statement_threads")
_scope_of = lru_cache(maxsize=512)(scope_of)


async def get_credential(request: Request, token: TokenDep) -> SubmittedCredential | None:
    """Return the credential of the request, not checked yet, or None for an anonymous caller."""
    if token is None:
        return None
    submitted = SubmittedCredential(token, _scope_of(request.method, request.scope["route"].path))
    request.scope[_SUBMITTED] = submitted
    return submitted


async def get_required_credential(submitted: "CredentialDep") -> SubmittedCredential:
    """Return the credential of the request, not checked yet. Raises NotAuthenticatedError."""
    if submitted is None:
        raise NotAuthenticatedError("Not authenticated")
    return submitted


async def refusal_before(request: Request) -> AppError | None:
    """Return the error of the caller's credential, if an error ended the request before its statement could check the credential.

    A caller without a valid credential must not learn about other errors of the request.
    """
    submitted: SubmittedCredential | None = request.scope.get(_SUBMITTED)
    if submitted is None or submitted.is_checked:
        return None
    services: Services = request.app.state.services
    try:
        await run_statement(services.callers().authenticate, submitted)
    except AppError as error:
        return error
    return None


async def run_statement(function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call the function, which executes a statement, in a worker thread; within Lambda in this thread."""
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(STATEMENT_THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(partial(function, *arguments, **keywords), limiter=limiter)


CredentialDep = Annotated[SubmittedCredential | None, Depends(get_credential)]
RequiredCredentialDep = Annotated[SubmittedCredential, Depends(get_required_credential)]
