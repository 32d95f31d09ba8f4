"""The session, and the services of one request."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from lambda_app.factory import Services
from lambda_app.services.accounts import AccountService
from lambda_app.services.files import FileService


async def get_services(request: Request) -> Services:
    """Return what `create_app` built."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_session(services: ServicesDep) -> Iterator[Session]:
    """One request, one unit of work."""
    with services.unit_of_work() as session:
        yield session


UNITS_OF_WORK_MAX = 30
"""Requests that may have a session at the same time; the others wait their turn. Fewer than the 40 threads that FastAPI has
for routes and answers: if all of those waited for a connection, nobody could finish with the one they hold."""

# Without scope="function" FastAPI would commit after the response has gone: a failed commit would still answer 201.
# This is the only alias; a second, plain Depends(get_session) would open a second session in the same request.
SessionDep = Annotated[Session, Depends(get_session, scope="function", max_concurrency=UNITS_OF_WORK_MAX)]


async def get_accounts(services: ServicesDep, session: SessionDep) -> AccountService:
    """Return the account service of this request."""
    return services.accounts(session)


async def get_files(services: ServicesDep, session: SessionDep) -> FileService:
    """Return the file service of this request."""
    return services.files(session)


AccountsDep = Annotated[AccountService, Depends(get_accounts)]
FilesDep = Annotated[FileService, Depends(get_files)]
