"""The database session and the services of one request."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from lambda_app.factory import Services
from lambda_app.services.accounts.api_keys import ApiKeyService
from lambda_app.services.accounts.deletions import AccountDeletionService
from lambda_app.services.accounts.device_logins import DeviceLoginService
from lambda_app.services.accounts.exports import ExportService
from lambda_app.services.accounts.identities import IdentityService
from lambda_app.services.accounts.invitations import InvitationService
from lambda_app.services.accounts.recovery import RecoveryService
from lambda_app.services.accounts.second_factor import SecondFactorService
from lambda_app.services.accounts.sessions import SessionService
from lambda_app.services.accounts.transfers import TransferService
from lambda_app.services.accounts.users import UserService
from lambda_app.services.administration import AdministrationService
from lambda_app.services.archives.archives import ArchiveService
from lambda_app.services.files.batch_changes import FileBatchChangeService
from lambda_app.services.files.batches import FileBatchService
from lambda_app.services.files.files import FileService
from lambda_app.services.files.previews import PreviewService
from lambda_app.services.files.scans import ScanService
from lambda_app.services.files.upload_batches import UploadBatchService
from lambda_app.services.files.upload_completion import UploadCompletion
from lambda_app.services.files.upload_tokens import TokenUploadService, UploadTokenService
from lambda_app.services.files.uploads import UploadService
from lambda_app.services.files.usage import UsageService
from lambda_app.services.notifications.prolongation import ProlongationService
from lambda_app.services.notifications.settings import NotificationSettingService
from lambda_app.services.receipts import ReceiptService
from lambda_app.services.sharing.file_requests import FileRequestService
from lambda_app.services.sharing.grants import GrantService
from lambda_app.services.sharing.link_files import LinkFileService
from lambda_app.services.sharing.link_mail import LinkMailService
from lambda_app.services.sharing.public_uploads import PublicUploadService
from lambda_app.services.sharing.share_links import ShareLinkService
from lambda_app.services.sharing.shares import ShareService
from lambda_app.services.webhooks.webhooks import WebhookService

T = TypeVar("T")

UNITS_OF_WORK_MAX = 30
"""Maximum number of requests with an open session; further requests wait. Below the 40 threads that FastAPI uses for routes and
responses: if all threads waited for a connection, no request could finish and return its own."""


async def get_services(request: Request) -> Services:
    """Return the services that `create_app` stored in the application."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_session(request: Request) -> Iterator[Session]:
    """Open the session, which is the unit of work of one request."""
    services: Services = request.app.state.services
    with services.unit_of_work() as session:
        yield session


# Without scope="function", FastAPI would commit after it has sent the response: a failed commit would still return 201.
# This is the only alias: another Depends(get_session) would open a second session in the same request.
SessionDep = Annotated[Session, Depends(get_session, scope="function", max_concurrency=UNITS_OF_WORK_MAX)]


def _service(build: Callable[[Services, Session], T]) -> Any:
    """Return the dependency that builds a service with the request's session."""

    # The services are not a dependency of their own: FastAPI analyses the whole tree again for each route.
    async def get(request: Request, session: SessionDep) -> T:
        return build(request.app.state.services, session)

    return Depends(get)


UsersDep = Annotated[UserService, _service(Services.users)]
FilesDep = Annotated[FileService, _service(Services.files)]
FileBatchesDep = Annotated[FileBatchService, _service(Services.file_batches)]
FileBatchChangesDep = Annotated[FileBatchChangeService, _service(Services.file_batch_changes)]
PreviewsDep = Annotated[PreviewService, _service(Services.previews)]
UploadBatchesDep = Annotated[UploadBatchService, _service(Services.upload_batches)]
UploadCompletionDep = Annotated[UploadCompletion, _service(Services.completion)]
UploadsDep = Annotated[UploadService, _service(Services.uploads)]
UploadTokensDep = Annotated[UploadTokenService, _service(Services.upload_tokens)]
TokenUploadsDep = Annotated[TokenUploadService, _service(Services.token_uploads)]
ArchivesDep = Annotated[ArchiveService, _service(Services.archives)]
GrantsDep = Annotated[GrantService, _service(Services.grants)]
FileRequestsDep = Annotated[FileRequestService, _service(Services.file_requests)]
PublicUploadsDep = Annotated[PublicUploadService, _service(Services.public_uploads)]
UsageDep = Annotated[UsageService, _service(Services.usage)]
SessionsDep = Annotated[SessionService, _service(Services.sessions)]
ApiKeysDep = Annotated[ApiKeyService, _service(Services.api_keys)]
IdentitiesDep = Annotated[IdentityService, _service(Services.identities)]
DeviceLoginsDep = Annotated[DeviceLoginService, _service(Services.device_logins)]
AccountDeletionsDep = Annotated[AccountDeletionService, _service(Services.account_deletions)]
SecondFactorsDep = Annotated[SecondFactorService, _service(Services.second_factors)]
LinkMailDep = Annotated[LinkMailService, _service(Services.link_mail)]
LinkFilesDep = Annotated[LinkFileService, _service(Services.link_files)]
ExportsDep = Annotated[ExportService, _service(Services.exports)]
TransfersDep = Annotated[TransferService, _service(Services.transfers)]
InvitationsDep = Annotated[InvitationService, _service(Services.invitations)]
SharesDep = Annotated[ShareService, _service(Services.shares)]
ShareLinksDep = Annotated[ShareLinkService, _service(Services.share_links)]
RecoveryDep = Annotated[RecoveryService, _service(Services.recovery)]
ReceiptsDep = Annotated[ReceiptService, _service(Services.receipts)]
NotificationSettingsDep = Annotated[NotificationSettingService, _service(Services.notification_settings)]
ProlongationDep = Annotated[ProlongationService, _service(Services.prolongation)]
WebhooksDep = Annotated[WebhookService, _service(Services.webhooks)]
AdministrationDep = Annotated[AdministrationService, _service(Services.administration)]
ScansDep = Annotated[ScanService, _service(Services.scans)]
