"""The session, and the services of one request."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from lambda_app.factory import Services
from lambda_app.services.accounts import AccountService
from lambda_app.services.administration import AdministrationService
from lambda_app.services.api_keys import ApiKeyService
from lambda_app.services.archives import ArchiveService
from lambda_app.services.authentication import AuthenticationService
from lambda_app.services.file_requests import FileRequestService
from lambda_app.services.files import FileService
from lambda_app.services.grants import GrantService
from lambda_app.services.guest_uploads import GuestUploadService
from lambda_app.services.recovery import RecoveryService
from lambda_app.services.sessions import SessionService
from lambda_app.services.share_links import ShareLinkService
from lambda_app.services.shares import ShareService
from lambda_app.services.uploads import UploadService
from lambda_app.services.usage import UsageService


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


async def get_uploads(services: ServicesDep, session: SessionDep) -> UploadService:
    """Return the upload service of this request."""
    return services.uploads(session)


async def get_archives(services: ServicesDep, session: SessionDep) -> ArchiveService:
    """Return the archive service of this request."""
    return services.archives(session)


async def get_grants(services: ServicesDep, session: SessionDep) -> GrantService:
    """Return the service of sharing by name of this request."""
    return services.grants(session)


async def get_file_requests(services: ServicesDep, session: SessionDep) -> FileRequestService:
    """Return the service of file requests of this request."""
    return services.file_requests(session)


async def get_guest_uploads(services: ServicesDep, session: SessionDep) -> GuestUploadService:
    """Return the guest's service of this request."""
    return services.guest_uploads(session)


async def get_usage(services: ServicesDep, session: SessionDep) -> UsageService:
    """Return the usage service of this request."""
    return services.usage(session)


async def get_authentication(services: ServicesDep, session: SessionDep) -> AuthenticationService:
    """Return the authentication service of this request."""
    return services.authentication(session)


async def get_sessions(services: ServicesDep, session: SessionDep) -> SessionService:
    """Return the session service of this request."""
    return services.sessions(session)


async def get_api_keys(services: ServicesDep, session: SessionDep) -> ApiKeyService:
    """Return the API key service of this request."""
    return services.api_keys(session)


async def get_shares(services: ServicesDep, session: SessionDep) -> ShareService:
    """Return the share service of this request."""
    return services.shares(session)


async def get_share_links(services: ServicesDep, session: SessionDep) -> ShareLinkService:
    """Return the service of whoever opens a share link."""
    return services.share_links(session)


async def get_recovery(services: ServicesDep, session: SessionDep) -> RecoveryService:
    """Return the recovery service of this request."""
    return services.recovery(session)


async def get_administration(services: ServicesDep, session: SessionDep) -> AdministrationService:
    """Return the administration service of this request."""
    return services.administration(session)


AccountsDep = Annotated[AccountService, Depends(get_accounts)]
FilesDep = Annotated[FileService, Depends(get_files)]
UploadsDep = Annotated[UploadService, Depends(get_uploads)]
ArchivesDep = Annotated[ArchiveService, Depends(get_archives)]
GrantsDep = Annotated[GrantService, Depends(get_grants)]
FileRequestsDep = Annotated[FileRequestService, Depends(get_file_requests)]
GuestUploadsDep = Annotated[GuestUploadService, Depends(get_guest_uploads)]
UsageDep = Annotated[UsageService, Depends(get_usage)]
AuthenticationDep = Annotated[AuthenticationService, Depends(get_authentication)]
SessionsDep = Annotated[SessionService, Depends(get_sessions)]
ApiKeysDep = Annotated[ApiKeyService, Depends(get_api_keys)]
SharesDep = Annotated[ShareService, Depends(get_shares)]
ShareLinksDep = Annotated[ShareLinkService, Depends(get_share_links)]
RecoveryDep = Annotated[RecoveryService, Depends(get_recovery)]
AdministrationDep = Annotated[AdministrationService, Depends(get_administration)]
