"""The composition root: creates all services, independently of HTTP.

The module is over 300 lines because it has one method per service.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import partial
from typing import Self, TypeVar

from pydantic import SecretStr
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, configure_mappers, sessionmaker

from lambda_app.core.aws import AwsAccess, AwsCredentials, object_of_arn
from lambda_app.core.identity.assertions import Assertions
from lambda_app.core.mail import Mailer, build_mailer
from lambda_app.core.places import NO_PLACES, Places
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.security.log_keys import LogSigner
from lambda_app.core.security.notification_tokens import NotificationTokens
from lambda_app.core.security.origin_verifier import OriginVerifier
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.core.security.share_tokens import ShareTokens
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.core.settings import Settings
from lambda_app.db.compiled import StatementRunner, Steps
from lambda_app.db.engine import create_database_engine, create_endpoint_engine, endpoint_of
from lambda_app.db.health import DatabaseProbe
from lambda_app.db.rehearsal import RehearsalEndpoint
from lambda_app.db.session import create_session_factory, session_scope
from lambda_app.repositories.accounts.api_keys import ApiKeyRepository
from lambda_app.repositories.accounts.callers import CallerRepository, caller_statements
from lambda_app.repositories.accounts.deletions import AccountDeletionRepository
from lambda_app.repositories.accounts.device_logins import DeviceLoginRepository
from lambda_app.repositories.accounts.exports import ExportRepository
from lambda_app.repositories.accounts.identities import IdentityRepository
from lambda_app.repositories.accounts.invitations import InvitationRepository
from lambda_app.repositories.accounts.mail_allowances import MailAllowanceRepository
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from lambda_app.repositories.accounts.second_factors import SecondFactorRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.sign_in_attempts import SignInAttemptRepository
from lambda_app.repositories.accounts.transfers import OwnershipTransferRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.archives.archives import ArchiveRepository
from lambda_app.repositories.archives.sweep import ArchiveSweepRepository
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.repositories.audit_names import AuditNameRepository
from lambda_app.repositories.events.dispatch import EventDispatchRepository
from lambda_app.repositories.events.feed import CallerEventRepository
from lambda_app.repositories.files.batch_transitions import FileBatchTransitionRepository
from lambda_app.repositories.files.batches import FileBatchRepository
from lambda_app.repositories.files.caller_files import CallerFileRepository, file_statements
from lambda_app.repositories.files.caller_lists import CallerListRepository
from lambda_app.repositories.files.caller_uploads import CallerUploadRepository, UploadLimits, upload_statements
from lambda_app.repositories.files.files import FileRepository
from lambda_app.repositories.files.idempotency import IdempotencyRepository
from lambda_app.repositories.files.previews import PreviewRepository
from lambda_app.repositories.files.scans import ScanRepository
from lambda_app.repositories.files.sweep import SweepRepository
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.repositories.files.upload_batches import UploadBatchRepository
from lambda_app.repositories.files.upload_tokens import UploadTokenRepository
from lambda_app.repositories.files.usage import UsageRepository
from lambda_app.repositories.notifications.collection import CollectionRepository
from lambda_app.repositories.notifications.digests import DigestRepository
from lambda_app.repositories.notifications.prolongation import ProlongationRepository
from lambda_app.repositories.notifications.settings import NotificationSettingRepository
from lambda_app.repositories.sharing.caller_links import CallerLinkRepository, link_statements
from lambda_app.repositories.sharing.file_requests import FileRequestRepository
from lambda_app.repositories.sharing.grants import FileGrantRepository
from lambda_app.repositories.sharing.link_files import LinkFileRepository
from lambda_app.repositories.sharing.link_tokens import LinkTokenRepository
from lambda_app.repositories.sharing.named_access import NamedAccessRepository
from lambda_app.repositories.sharing.open_access import OpenAccessRepository
from lambda_app.repositories.sharing.recipient_lookup import RecipientLookupRepository
from lambda_app.repositories.sharing.share_links import ShareLinkRepository
from lambda_app.repositories.sharing.shares import ShareRepository
from lambda_app.repositories.stats import StatsRepository
from lambda_app.repositories.webhooks.deliveries import WebhookDeliveryRepository
from lambda_app.repositories.webhooks.webhooks import WebhookRepository
from lambda_app.services.accounts.api_keys import ApiKeyService
from lambda_app.services.accounts.authentication import AuthenticationService
from lambda_app.services.accounts.callers import CallerService
from lambda_app.services.accounts.deletions import AccountDeletionService
from lambda_app.services.accounts.device_logins import DeviceLoginService
from lambda_app.services.accounts.exports import ExportService
from lambda_app.services.accounts.factor_policy import FactorPolicy
from lambda_app.services.accounts.identities import IdentityPolicy, IdentityService
from lambda_app.services.accounts.identity_flows import ClientSecrets, IdentityFlows
from lambda_app.services.accounts.invitations import InvitationService
from lambda_app.services.accounts.login_throttle import LoginThrottle
from lambda_app.services.accounts.recovery import MailPolicy, RecoveryService
from lambda_app.services.accounts.request_limits import RequestLimits
from lambda_app.services.accounts.second_factor import SecondFactorService, SecondFactorVerifier
from lambda_app.services.accounts.sessions import SessionPolicy, SessionService
from lambda_app.services.accounts.transfers import FileMover, TransferService
from lambda_app.services.accounts.users import UserService
from lambda_app.services.administration import AdministrationReads, AdministrationService
from lambda_app.services.archives.archives import ArchiveService
from lambda_app.services.archives.builds import ArchiveBuildService
from lambda_app.services.archives.export_data import ExportPreparation
from lambda_app.services.archives.sweep import ArchiveSweepService
from lambda_app.services.audit_sealing import AuditEras, AuditSealer
from lambda_app.services.events.dispatch import EventDispatcher
from lambda_app.services.events.feed import CallerEventService
from lambda_app.services.files.batch_changes import FileBatchChangeService
from lambda_app.services.files.batches import FileBatchService
from lambda_app.services.files.caller_files import CallerFileService
from lambda_app.services.files.caller_lists import CallerListService
from lambda_app.services.files.caller_uploads import CallerUploadService
from lambda_app.services.files.files import FileService
from lambda_app.services.files.idempotency import IdempotencyService
from lambda_app.services.files.previews import PreviewService
from lambda_app.services.files.quota import DeletionAllowance, Quota
from lambda_app.services.files.scans import ScanService
from lambda_app.services.files.sweep import SweepService
from lambda_app.services.files.upload_batches import UploadBatchService
from lambda_app.services.files.upload_completion import UploadCompletion
from lambda_app.services.files.upload_tokens import TokenUploadService, UploadTokenService
from lambda_app.services.files.uploads import UploadService
from lambda_app.services.files.usage import UsageService
from lambda_app.services.maintenance import MaintenanceService
from lambda_app.services.notifications.collector import NotificationCollector
from lambda_app.services.notifications.digests import DigestSender
from lambda_app.services.notifications.mails import NotificationMails
from lambda_app.services.notifications.prolongation import ProlongationService
from lambda_app.services.notifications.settings import NotificationSettingService
from lambda_app.services.receipts import ReceiptService
from lambda_app.services.sharing.file_requests import FileRequestService
from lambda_app.services.sharing.grants import GrantService
from lambda_app.services.sharing.link_downloads import LinkDownloadService
from lambda_app.services.sharing.link_files import LinkFileService
from lambda_app.services.sharing.link_mail import LinkMailService, LinkMailSettings
from lambda_app.services.sharing.link_tokens import LinkTokenEncryption
from lambda_app.services.sharing.public_uploads import PublicUploadService
from lambda_app.services.sharing.recipient_lookup import RecipientLookup
from lambda_app.services.sharing.share_links import ShareLinkService
from lambda_app.services.sharing.shares import ShareService
from lambda_app.services.webhooks.batches import WebhookBatchService
from lambda_app.services.webhooks.webhooks import WebhookService
from lambda_app.storage.checkpoint_copies import CheckpointCopies
from lambda_app.storage.connection_releasing import ConnectionReleasingStore
from lambda_app.storage.object_store import ObjectStore
from lambda_app.storage.s3 import S3ObjectStore
from lambda_app.storage.scan_tags import ScanTags
from lambda_app.storage.webhook_objects import WebhookObjects

T = TypeVar("T")

ISSUER = "We-Upload"
"""Name under which authenticator apps list an account."""
DATABASE_PROBE_SECONDS = 1.5
"""How long the health check waits for the database. The health check must respond within 2 seconds."""

POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class Services:
    """The process-wide objects, and the constructors of the services for one unit of work. Connections are opened on first use."""

    settings: Settings
    aws: AwsAccess
    engine: Engine
    session_factory: sessionmaker[Session]
    store: ObjectStore
    passwords: PasswordHasher
    keys: SigningKeys
    link_keys: SigningKeys
    """The keys that encrypt the tokens of links."""
    tokens: AccessTokens
    mailer: Mailer
    database_probe: DatabaseProbe
    origin_verifier: OriginVerifier | None
    """None when callers reach the API directly, without CloudFront."""
    read_engine: Engine | None = None
    """The engine of a standby, for reads that may be some seconds old."""
    identity_keys: SigningKeys | None = None
    """The keys of the sign-in with identity providers; None without providers."""
    places: Places = NO_PLACES
    """The places of network addresses, if the operator has a database of them."""

    @classmethod
    def build(cls, settings: Settings, aws: AwsAccess | None = None) -> Self:
        """Create all objects from the settings. `aws` replaces the default AwsAccess."""
        aws = aws or AwsAccess(settings)
        keys = _signing_keys(settings, aws)
        engine = create_database_engine(settings, password_source=_password_source(settings, aws))
        return cls(
            settings=settings,
            aws=aws,
            engine=engine,
            session_factory=create_session_factory(engine),
            store=S3ObjectStore(settings, aws),
            passwords=PasswordHasher(),
            keys=keys,
            link_keys=_link_keys(settings, aws, signing_keys=keys),
            tokens=AccessTokens(keys=keys, lifetime=timedelta(minutes=settings.access_token_expire_minutes)),
            mailer=build_mailer(settings, aws),
            database_probe=DatabaseProbe(engine, timeout_seconds=DATABASE_PROBE_SECONDS),
            origin_verifier=_origin_verifier(settings, aws),
            identity_keys=identity_keys(settings, aws),
            read_engine=_read_engine(settings, aws),
            places=Places(settings.places_file),
        )

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """Open a session for one unit of work: commit when the block succeeds, roll back when it raises."""
        with session_scope(self.session_factory) as session:
            yield session

    def complete(self, steps: Steps[T]) -> T:
        """Execute the statements of the steps in this thread, and return their result."""
        return StatementRunner(self.engine).complete(steps)

    def callers(self) -> CallerService:
        """The authentication of callers by the statement of their request."""
        return CallerService(callers=CallerRepository(StatementRunner(self.engine)), tokens=self.tokens)

    def caller_files(self) -> CallerFileService:
        """The file service for callers that its statements authenticate."""
        return CallerFileService(files=CallerFileRepository(StatementRunner(self.engine)), callers=self.callers(), store=self.store)

    def caller_lists(self) -> CallerListService:
        """The service that lists the files of callers that are authenticated in the same flush."""
        return CallerListService(lists=CallerListRepository(), callers=self.callers(), in_steps=self._files_in_unit_of_work)

    @contextmanager
    def _files_in_unit_of_work(self) -> Iterator[FileService]:
        with self.unit_of_work() as session:
            yield self.files(session)

    def caller_events(self) -> CallerEventService:
        """The service that lists the events of callers that are authenticated in the same flush."""
        return CallerEventService(events=CallerEventRepository(StatementRunner(self.engine)), callers=self.callers())

    def caller_uploads(self) -> CallerUploadService:
        """The service that starts uploads of callers that its statements authenticate."""
        quota = self._default_quota()
        return CallerUploadService(
            uploads=CallerUploadRepository(StatementRunner(self.engine)),
            callers=self.callers(),
            store=self.store,
            limits=UploadLimits(quota.bytes, quota.files, self.settings.user_deletion_bytes),
            in_steps=self._uploads_in_unit_of_work,
        )

    def link_downloads(self) -> LinkDownloadService:
        """The service that grants downloads through links to visitors that its statements authenticate."""
        return LinkDownloadService(
            links=CallerLinkRepository(StatementRunner(self.engine)),
            callers=self.callers(),
            share_tokens=ShareTokens(self.keys),
            store=self.store,
            in_steps=self._share_links_in_unit_of_work,
        )

    @contextmanager
    def _share_links_in_unit_of_work(self) -> Iterator[ShareLinkService]:
        with self.unit_of_work() as session:
            yield self.share_links(session)

    @contextmanager
    def _uploads_in_unit_of_work(self) -> Iterator[UploadService]:
        with self.unit_of_work() as session:
            yield self.uploads(session)

    def users(self, session: Session) -> UserService:
        """The user service of one unit of work."""
        return UserService(
            users=UserRepository(session),
            identities=IdentityRepository(session),
            shares=ShareRepository(session),
            passwords=self.passwords,
            login_throttle=self._login_throttle(session),
            second_factor=self._second_factor(session),
            limits=RequestLimits(MailAllowanceRepository(session)),
            recipient_lookup=RecipientLookup(RecipientLookupRepository(session)),
            named_access=NamedAccessRepository(session),
            open_registration=self.settings.open_registration,
            requires_verified_email=self.settings.require_verified_email,
            accepts_passwords=self.settings.password_sign_in,
        )

    def authentication(self, session: Session) -> AuthenticationService:
        """The service that authenticates callers, for one unit of work."""
        return AuthenticationService(sessions=SessionRepository(session), api_keys=ApiKeyRepository(session), tokens=self.tokens)

    def sessions(self, session: Session) -> SessionService:
        """The session service of one unit of work."""
        return SessionService(
            users=UserRepository(session),
            sessions=SessionRepository(session),
            login_throttle=self._login_throttle(session),
            second_factor=self._second_factor(session),
            deletions=AccountDeletionRepository(session),
            passwords=self.passwords,
            tokens=self.tokens,
            keys=self.keys,
            policy=SessionPolicy(
                lifetime=timedelta(days=self.settings.refresh_token_expire_days),
                requires_verified_email=self.settings.require_verified_email,
                accepts_passwords=self.settings.password_sign_in,
                factor=self._factor_policy(),
            ),
        )

    def identities(self, session: Session) -> IdentityService:
        """The service of sign-ins with identity providers, for one unit of work."""
        return IdentityService(
            assertions=None if self.identity_keys is None else Assertions(self.identity_keys),
            identities=IdentityRepository(session),
            users=UserRepository(session),
            invitations=InvitationRepository(session),
            session_rows=SessionRepository(session),
            factors=SecondFactorRepository(session),
            open_access=OpenAccessRepository(session),
            named_access=NamedAccessRepository(session),
            sessions=self.sessions(session),
            second_factor=self._second_factor(session),
            login_throttle=self._login_throttle(session),
            limits=RequestLimits(MailAllowanceRepository(session)),
            policy=IdentityPolicy(
                providers={provider.id: provider for provider in self.settings.identity_providers},
                open_registration=self.settings.open_registration,
                accepts_passwords=self.settings.password_sign_in,
                invitations_by_users=self.settings.invitations_by_users,
            ),
        )

    def _factor_policy(self) -> FactorPolicy:
        return FactorPolicy(self.settings.require_second_factor)

    def second_factors(self, session: Session) -> SecondFactorService:
        """The service for second factors, for one unit of work."""
        return SecondFactorService(
            factors=SecondFactorRepository(session),
            users=UserRepository(session),
            verifier=self._second_factor(session),
            login_throttle=self._login_throttle(session),
            cipher=self._link_cipher(),
            policy=self._factor_policy(),
            issuer=ISSUER,
        )

    def account_deletions(self, session: Session) -> AccountDeletionService:
        """The service that deletes accounts, for one unit of work."""
        return AccountDeletionService(
            deletions=AccountDeletionRepository(session),
            users=UserRepository(session),
            login_throttle=self._login_throttle(session),
            second_factor=self._second_factor(session),
            grace=timedelta(days=self.settings.account_deletion_days),
        )

    def api_keys(self, session: Session) -> ApiKeyService:
        """The API key service of one unit of work."""
        return ApiKeyService(api_keys=ApiKeyRepository(session))

    def device_logins(self, session: Session) -> DeviceLoginService:
        """The service for device sign-ins, for one unit of work."""
        return DeviceLoginService(
            device_logins=DeviceLoginRepository(session), sessions=self.sessions(session), login_throttle=self._login_throttle(session)
        )

    def recovery(self, session: Session) -> RecoveryService:
        """The service for password resets and e-mail verification, for one unit of work."""
        return RecoveryService(
            mail_tokens=MailTokenRepository(session),
            allowances=MailAllowanceRepository(session),
            users=UserRepository(session),
            identities=IdentityRepository(session),
            named_access=NamedAccessRepository(session),
            open_access=OpenAccessRepository(session),
            factors=SecondFactorRepository(session),
            passwords=self.passwords,
            policy=self._mail_policy(),
        )

    def notification_settings(self, session: Session) -> NotificationSettingService:
        """The service of notification settings, for one unit of work."""
        return NotificationSettingService(
            settings=NotificationSettingRepository(session), users=UserRepository(session), tokens=NotificationTokens(self.link_keys)
        )

    def notification_collector(self, session: Session) -> NotificationCollector:
        """The collector of notifications, for one unit of work."""
        return NotificationCollector(collection=CollectionRepository(session), can_send=self.settings.can_send_mail)

    def digest_sender(self, session: Session) -> DigestSender:
        """The sender of mails with notifications, for one unit of work."""
        settings = self.settings
        return DigestSender(
            digests=DigestRepository(session),
            allowances=MailAllowanceRepository(session),
            mails=NotificationMails(
                tokens=NotificationTokens(self.link_keys),
                base_url=settings.api_url or settings.public_url,
                public_url=settings.public_url,
                default_language=settings.default_language,
                places=self.places,
            ),
            mailer=self.mailer,
        )

    def prolongation(self, session: Session) -> ProlongationService:
        """The service that prolongs share links by links in mail, for one unit of work."""
        return ProlongationService(prolongations=ProlongationRepository(session), tokens=NotificationTokens(self.link_keys))

    def invitations(self, session: Session) -> InvitationService:
        """The invitation service of one unit of work."""
        return InvitationService(
            invitations=InvitationRepository(session),
            allowances=MailAllowanceRepository(session),
            users=UserRepository(session),
            accounts=self.users(session),
            files=FileRepository(session),
            named_access=NamedAccessRepository(session),
            policy=self._mail_policy(),
            by_users=self.settings.invitations_by_users,
        )

    def _mail_policy(self) -> MailPolicy:
        return MailPolicy(
            can_send=self.settings.can_send_mail,
            public_url=self.settings.public_url,
            accepts_passwords=self.settings.password_sign_in,
        )

    def administration(self, session: Session) -> AdministrationService:
        """The administration service of one unit of work."""

        @contextmanager
        def on_database() -> Iterator[AdministrationReads]:
            yield AdministrationReads(AuditRepository(session), AuditNameRepository(session), StatsRepository(session))

        return AdministrationService([on_database] if self.read_engine is None else [self._reads_on_standby, on_database])

    @contextmanager
    def _reads_on_standby(self) -> Iterator[AdministrationReads]:
        # The caller is authenticated by the database itself: a standby may not know yet that a session has ended.
        with session_scope(create_session_factory(self._require_read_engine())) as session:
            yield AdministrationReads(AuditRepository(session), AuditNameRepository(session), StatsRepository(session))

    def _require_read_engine(self) -> Engine:
        if self.read_engine is None:
            raise ValueError("The settings have no DATABASE_READ_HOST")
        return self.read_engine

    def audit_log(self, session: Session) -> AuditLogRepository:
        """The tree over the audit log, for commands that verify it."""
        return AuditLogRepository(session)

    def receipts(self, session: Session) -> ReceiptService:
        """The receipt service of one unit of work."""
        return ReceiptService(log=AuditLogRepository(session))

    def sealer(self, session: Session) -> AuditSealer:
        """The sealer of the audit log, for one run. It reads the private key."""
        return AuditSealer(
            log=AuditLogRepository(session),
            audit=AuditRepository(session),
            copies=CheckpointCopies(self.settings, self.aws),
            signer=partial(_log_signer, self.settings, self.aws),
            bucket=self.settings.s3_bucket_name,
        )

    def audit_eras(self, session: Session) -> AuditEras:
        """The operator's command after a restore."""
        return AuditEras(log=AuditLogRepository(session), copies=CheckpointCopies(self.settings, self.aws))

    def maintenance(self, session: Session) -> MaintenanceService:
        """The maintenance service of one unit of work."""
        return MaintenanceService(
            sessions=SessionRepository(session),
            identities=IdentityRepository(session),
            device_logins=DeviceLoginRepository(session),
            mail_tokens=MailTokenRepository(session),
            invitations=InvitationRepository(session),
            transfers=OwnershipTransferRepository(session),
            mail_allowances=MailAllowanceRepository(session),
            attempts=SignInAttemptRepository(session),
            share_links=ShareLinkRepository(session),
            upload_tokens=UploadTokenRepository(session),
            stats=StatsRepository(session),
            events=EventDispatchRepository(session),
            webhooks=WebhookRepository(session),
        )

    def files(self, session: Session) -> FileService:
        """The file service of one unit of work."""
        return FileService(
            files=FileRepository(session),
            transitions=self._transitions(session),
            store=self._store(session),
            trash_retention=timedelta(days=self.settings.trash_retention_days),
        )

    def uploads(self, session: Session) -> UploadService:
        """The upload service of one unit of work."""
        return UploadService(
            files=FileRepository(session),
            transitions=self._transitions(session),
            tombstones=self._tombstones(session),
            users=UserRepository(session),
            idempotency=IdempotencyService(IdempotencyRepository(session)),
            store=self._store(session),
            default_quota=self._default_quota(),
            deletion_allowance=DeletionAllowance(self.settings.user_deletion_bytes),
            completion=self.completion(session),
        )

    def file_batches(self, session: Session) -> FileBatchService:
        """The service of requests about many files, for one unit of work."""
        return FileBatchService(batches=FileBatchRepository(session), store=self._store(session))

    def file_batch_changes(self, session: Session) -> FileBatchChangeService:
        """The service that changes many files, for one unit of work."""
        return FileBatchChangeService(
            files=FileRepository(session),
            transitions=FileBatchTransitionRepository(session, deletion_allowance_bytes=self.settings.user_deletion_bytes),
            store=self._store(session),
            trash_retention=timedelta(days=self.settings.trash_retention_days),
        )

    def upload_batches(self, session: Session) -> UploadBatchService:
        """The service that starts many uploads at once, for one unit of work."""
        return UploadBatchService(
            batches=UploadBatchRepository(session, deletion_allowance_bytes=self.settings.user_deletion_bytes),
            tombstones=self._tombstones(session),
            users=UserRepository(session),
            idempotency=IdempotencyService(IdempotencyRepository(session)),
            store=self._store(session),
            default_quota=self._default_quota(),
            deletion_allowance=DeletionAllowance(self.settings.user_deletion_bytes),
        )

    def upload_tokens(self, session: Session) -> UploadTokenService:
        """The service of upload tokens, for their owners, for one unit of work."""
        return UploadTokenService(tokens=UploadTokenRepository(session))

    def token_uploads(self, session: Session) -> TokenUploadService:
        """The service of uploads with an upload token, for one unit of work."""
        return TokenUploadService(
            tokens=UploadTokenRepository(session),
            uploads=self.uploads(session),
            files=self.files(session),
            default_quota=self._default_quota(),
        )

    def completion(self, session: Session) -> UploadCompletion:
        """The service that completes uploads, for one unit of work."""
        return UploadCompletion(
            files=FileRepository(session),
            transitions=self._transitions(session),
            tombstones=self._tombstones(session),
            store=self._store(session),
            has_previews=self.settings.previews_enabled,
        )

    def previews(self, session: Session) -> PreviewService:
        """The service of previews, for one unit of work."""
        return PreviewService(previews=PreviewRepository(session), store=self._store(session))

    def scans(self, session: Session) -> ScanService:
        """The service of malware scans, for one unit of work."""
        return ScanService(
            scans=ScanRepository(session),
            tags=ScanTags(self.settings, self.aws),
            serves_unscannable=self.settings.serves_unscannable,
        )

    def shares(self, session: Session) -> ShareService:
        """The share service of one unit of work."""
        return ShareService(
            shares=ShareRepository(session),
            files=FileRepository(session),
            idempotency=IdempotencyService(IdempotencyRepository(session)),
            passwords=self.passwords,
            share_tokens=ShareTokens(self.keys),
            cipher=self._link_cipher(),
            recipient_lookup=RecipientLookup(RecipientLookupRepository(session)),
        )

    def link_files(self, session: Session) -> LinkFileService:
        """The service that adds files to links and removes them, for one unit of work."""
        return LinkFileService(link_files=LinkFileRepository(session), shares=self.shares(session))

    def link_mail(self, session: Session) -> LinkMailService:
        """The service that mails links to recipients, for one unit of work."""
        settings = self.settings
        return LinkMailService(
            shares=self.shares(session),
            allowances=MailAllowanceRepository(session),
            audit=AuditRepository(session),
            settings=LinkMailSettings(
                policy=self._mail_policy(),
                link_base=settings.api_url or settings.public_url,
                brand=settings.brand_name,
            ),
        )

    def share_links(self, session: Session) -> ShareLinkService:
        """The service for visitors of share links, for one unit of work."""
        return ShareLinkService(
            links=ShareLinkRepository(session),
            audit=AuditRepository(session),
            login_throttle=self._login_throttle(session),
            sessions=self.sessions(session),
            identities=self.identities(session),
            share_tokens=ShareTokens(self.keys),
            store=self._store(session),
            previews=PreviewRepository(session) if self.settings.previews_enabled else None,
        )

    def grants(self, session: Session) -> GrantService:
        """The service that shares files with named users, for one unit of work."""
        return GrantService(
            grants=FileGrantRepository(session),
            files=FileRepository(session),
            users=UserRepository(session),
            recipient_lookup=RecipientLookup(RecipientLookupRepository(session)),
        )

    def file_requests(self, session: Session) -> FileRequestService:
        """The service of file requests, for one unit of work."""
        return FileRequestService(
            requests=FileRequestRepository(session),
            idempotency=IdempotencyService(IdempotencyRepository(session)),
            keys=self.keys,
            cipher=self._link_cipher(),
        )

    def link_token_encryption(self, session: Session) -> LinkTokenEncryption:
        """The re-encryption of link tokens after a rotation, for the operator's command."""
        return LinkTokenEncryption(tokens=LinkTokenRepository(session), cipher=self._link_cipher())

    def public_uploads(self, session: Session) -> PublicUploadService:
        """The service for guests who upload to a file request, for one unit of work."""
        return PublicUploadService(
            requests=FileRequestRepository(session),
            transitions=self._transitions(session),
            tombstones=self._tombstones(session),
            completion=self.completion(session),
            store=self._store(session),
            default_quota=self._default_quota(),
        )

    def event_dispatcher(self, session: Session) -> EventDispatcher:
        """The dispatcher of events, for one unit of work."""
        return EventDispatcher(events=EventDispatchRepository(session))

    def webhooks(self, session: Session) -> WebhookService:
        """The service of webhooks, for one unit of work."""
        return WebhookService(
            webhooks=WebhookRepository(session),
            deliveries=WebhookDeliveryRepository(session),
            cipher=self._link_cipher(),
            allow_loopback=self.settings.webhook_allow_loopback,
        )

    def webhook_batches(self, session: Session, *, lease: timedelta) -> WebhookBatchService:
        """The service of webhook batches, for one unit of work."""
        return WebhookBatchService(deliveries=WebhookDeliveryRepository(session), cipher=self._link_cipher(), lease=lease)

    def usage(self, session: Session) -> UsageService:
        """The usage service of one unit of work."""
        return UsageService(usage=UsageRepository(session), default_quota=self._default_quota())

    def sweep(self, session: Session) -> SweepService:
        """The sweep of one unit of work."""
        return SweepService(
            files=SweepRepository(session),
            transitions=self._transitions(session),
            tombstones=self._tombstones(session),
            keys=IdempotencyRepository(session),
            accounts=AccountDeletionRepository(session),
            previews=PreviewRepository(session) if self.settings.previews_enabled else None,
            mover=self._file_mover(session),
            store=self._store(session),
        )

    def archives(self, session: Session) -> ArchiveService:
        """The archive service of one unit of work."""
        return ArchiveService(
            archives=ArchiveRepository(session),
            transitions=ArchiveTransitionRepository(session),
            store=self._store(session),
            retention=self._archive_retention(),
            default_quota=self._default_quota(),
        )

    def archive_builds(self, session: Session) -> ArchiveBuildService:
        """The service that builds archives, for one unit of work."""
        transitions, store = ArchiveTransitionRepository(session), self._store(session)
        exports = ExportPreparation(exports=ExportRepository(session), transitions=transitions, store=store)
        return ArchiveBuildService(transitions=transitions, exports=exports, store=store, retention=self._archive_retention())

    def transfers(self, session: Session) -> TransferService:
        """The service of ownership transfers, for one unit of work."""
        return TransferService(
            transfers=OwnershipTransferRepository(session),
            users=UserRepository(session),
            recipient_lookup=RecipientLookup(RecipientLookupRepository(session)),
            login_throttle=self._login_throttle(session),
            second_factor=self._second_factor(session),
            allowances=MailAllowanceRepository(session),
            mover=self._file_mover(session),
        )

    def _file_mover(self, session: Session) -> FileMover:
        return FileMover(OwnershipTransferRepository(session), self._default_quota())

    def exports(self, session: Session) -> ExportService:
        """The export service of one unit of work."""
        return ExportService(
            exports=ExportRepository(session),
            transitions=ArchiveTransitionRepository(session),
            login_throttle=self._login_throttle(session),
            second_factor=self._second_factor(session),
            store=self._store(session),
            retention=self._archive_retention(),
        )

    def archive_sweep(self, session: Session) -> ArchiveSweepService:
        """The sweep of archives of one unit of work."""
        return ArchiveSweepService(
            archives=ArchiveSweepRepository(session),
            transitions=ArchiveTransitionRepository(session),
            store=self._store(session),
            retention=self._archive_retention(),
        )

    def before_snapshot(self) -> None:
        """Close connections and drop cached keys, which a SnapStart snapshot must not contain."""
        self.engine.dispose()
        if self.read_engine is not None:
            self.read_engine.dispose()
        self.keys.clear_cache()
        self.link_keys.clear_cache()
        if self.identity_keys:
            self.identity_keys.clear_cache()
        if self.origin_verifier:
            self.origin_verifier.clear_cache()

    def warm_up(self) -> None:
        """Load what the first requests need, so that a SnapStart snapshot contains it. Does not connect to the database."""
        configure_mappers()
        for statement in (*file_statements(), *caller_statements(), *upload_statements(), *link_statements()):
            statement.prepare()
        self.passwords.verify("", None)
        arns = (self.settings.secret_key_arn, self.settings.link_key_arn, *self.settings.origin_key_arns)
        for service in {"secretsmanager" if object_of_arn(arn) is None else "s3" for arn in arns if arn}:
            self.aws.client(service)
        if self.settings.mail_from:
            self.aws.client("sesv2")

    def for_rehearsal(self) -> Self:
        """Return services with the same settings, without a database, with a random key, and with invalid credentials of AWS."""
        keys = SigningKeys.fixed(secrets.token_urlsafe(48))
        aws = AwsAccess(self.settings, AwsCredentials("rehearsal", "rehearsal"))
        endpoint = RehearsalEndpoint(**{field.name: getattr(endpoint_of(self.engine), field.name) for field in fields(RehearsalEndpoint)})
        engine = create_endpoint_engine(endpoint, pool_size=1)
        return replace(
            self,
            aws=aws,
            engine=engine,
            session_factory=create_session_factory(engine),
            store=S3ObjectStore(self.settings, aws),
            keys=keys,
            link_keys=keys,
            tokens=AccessTokens(keys=keys, lifetime=timedelta(minutes=self.settings.access_token_expire_minutes)),
            origin_verifier=None,
            read_engine=None,
        )

    def _store(self, session: Session) -> ObjectStore:
        return ConnectionReleasingStore(self.store, session)

    def _transitions(self, session: Session) -> FileTransitionRepository:
        settings = self.settings
        return FileTransitionRepository(
            session, deletion_allowance_bytes=settings.user_deletion_bytes, scans_for_malware=settings.scans_for_malware
        )

    def _tombstones(self, session: Session) -> TombstoneRepository:
        return TombstoneRepository(session, deletion_allowance_bytes=self.settings.user_deletion_bytes)

    def _default_quota(self) -> Quota:
        return Quota(bytes=self.settings.user_quota_bytes, files=self.settings.user_quota_files)

    def _link_cipher(self) -> LinkTokenCipher:
        return LinkTokenCipher(self.link_keys, fallback=None if self.link_keys is self.keys else self.keys)

    def _archive_retention(self) -> timedelta:
        return timedelta(hours=self.settings.archive_retention_hours)

    def _second_factor(self, session: Session) -> SecondFactorVerifier:
        return SecondFactorVerifier(
            factors=SecondFactorRepository(session),
            login_throttle=self._login_throttle(session),
            cipher=self._link_cipher(),
        )

    def _login_throttle(self, session: Session) -> LoginThrottle:
        return LoginThrottle(
            attempts=SignInAttemptRepository(session),
            sessions=SessionRepository(session),
            audit=AuditRepository(session),
            passwords=self.passwords,
        )


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """What the routes of the sign-in at identity providers use: no database, no bucket and no signing key."""

    settings: Settings
    aws: AwsAccess
    flows: IdentityFlows
    origin_verifier: OriginVerifier | None
    keys: SigningKeys | None
    """None without providers."""

    @classmethod
    def build(cls, settings: Settings, aws: AwsAccess | None = None) -> Self:
        """Create the objects from the settings. They call the providers on first use."""
        aws = aws or AwsAccess(settings)
        keys = identity_keys(settings, aws)
        arn = settings.identity_secrets_arn
        flows = IdentityFlows(
            settings.identity_providers if keys else (),
            keys=keys or SigningKeys.fixed(secrets.token_urlsafe(48)),
            client_secrets=ClientSecrets(partial(aws.secret, arn) if arn else None),
            accepts_loopback=settings.is_local,
        )
        return cls(settings, aws, flows, _origin_verifier(settings, aws), keys)

    def before_snapshot(self) -> None:
        """Drop cached keys, which a SnapStart snapshot must not contain."""
        if self.keys:
            self.keys.clear_cache()
        if self.origin_verifier:
            self.origin_verifier.clear_cache()


def identity_keys(settings: Settings, aws: AwsAccess) -> SigningKeys | None:
    """Return the keys of the sign-in with identity providers; None if the settings have none."""
    if settings.identity_key is not None:
        return SigningKeys.fixed(settings.identity_key.get_secret_value())
    return SigningKeys(partial(aws.secret, settings.identity_key_arn)) if settings.identity_key_arn else None


def _origin_verifier(settings: Settings, aws: AwsAccess) -> OriginVerifier | None:
    arns = settings.origin_key_arns
    return OriginVerifier([partial(aws.secret, arn) for arn in arns]) if arns else None


def _read_engine(settings: Settings, aws: AwsAccess) -> Engine | None:
    if settings.database_read_host is None:
        return None
    host, _, port = settings.database_read_host.partition(":")
    url = make_url(settings.database_url.get_secret_value()).set(host=host)
    url = url.set(port=int(port)) if port else url
    there = settings.model_copy(update={"database_url": SecretStr(url.render_as_string(hide_password=False))})
    return create_database_engine(there, password_source=_password_source(there, aws))


def _signing_keys(settings: Settings, aws: AwsAccess) -> SigningKeys:
    if settings.secret_key is not None:
        return SigningKeys.fixed(settings.secret_key.get_secret_value())
    if settings.secret_key_arn is None:
        raise ValueError("The settings have no signing key")
    return SigningKeys(partial(aws.secret, settings.secret_key_arn))


def _link_keys(settings: Settings, aws: AwsAccess, *, signing_keys: SigningKeys) -> SigningKeys:
    if settings.link_key is not None:
        return SigningKeys.fixed(settings.link_key.get_secret_value())
    return SigningKeys(partial(aws.secret, settings.link_key_arn)) if settings.link_key_arn else signing_keys


def webhook_objects(settings: Settings, aws: AwsAccess) -> WebhookObjects:
    """Return the batches of webhook messages in S3. Not part of Services: the function that sends them has no database."""
    if settings.webhook_key_arn is None:
        raise ValueError("Set WEBHOOK_KEY_ARN: batches of webhook messages cannot be encrypted without a key")
    return WebhookObjects(settings, aws, LinkTokenCipher(SigningKeys(partial(aws.secret, settings.webhook_key_arn))))


def _log_signer(settings: Settings, aws: AwsAccess) -> LogSigner:
    if settings.log_signing_key is not None:
        return LogSigner.from_secret(settings.log_signing_key.get_secret_value())
    if settings.log_key_arn is None:
        raise ValueError("Set LOG_SIGNING_KEY or LOG_KEY_ARN: the audit log cannot be sealed without a key")
    return LogSigner.from_secret(aws.secret(settings.log_key_arn))


def _password_source(settings: Settings, aws: AwsAccess) -> Callable[[], str] | None:
    if arn := settings.database_secret_arn:
        return lambda: str(json.loads(aws.secret(arn))["password"])
    if not settings.database_iam_auth:
        return None
    url = make_url(settings.database_url.get_secret_value())
    if not url.host or not url.username:
        raise ValueError("DATABASE_IAM_AUTH requires a host and a user in DATABASE_URL")
    return partial(aws.database_auth_token, url.host, url.port or POSTGRES_PORT, url.username)
