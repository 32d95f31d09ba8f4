"""Scheduled work on rows: deletion of expired data, and the counts behind the statistics."""

from datetime import timedelta
from functools import partial

from lambda_app.core import clock
from lambda_app.repositories.accounts.device_logins import DeviceLoginRepository
from lambda_app.repositories.accounts.identities import IdentityRepository
from lambda_app.repositories.accounts.invitations import InvitationRepository
from lambda_app.repositories.accounts.mail_allowances import MailAllowanceRepository
from lambda_app.repositories.accounts.mail_tokens import MailTokenRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.sign_in_attempts import SignInAttemptRepository
from lambda_app.repositories.accounts.transfers import OwnershipTransferRepository
from lambda_app.repositories.events.dispatch import EventDispatchRepository
from lambda_app.repositories.files.upload_tokens import UploadTokenRepository
from lambda_app.repositories.sharing.share_links import RESUME_WITHIN, ShareLinkRepository
from lambda_app.repositories.stats import StatsRepository
from lambda_app.repositories.webhooks.webhooks import WebhookRepository
from lambda_app.schemas.admin import STATS_DAYS_MAX

ENDED_RETENTION = timedelta(days=30)
"""How long ended sessions, and expired mail tokens and invitations are stored. Until then, the reuse of a refresh token is detected."""

EVENT_RETENTION = timedelta(days=30)
"""How long published events are stored."""


class MaintenanceService:
    """Deletes rows that no request needs any more, and counts what the statistics show."""

    def __init__(  # noqa: PLR0913 - a repository for each kind of row
        self,
        *,
        sessions: SessionRepository,
        identities: IdentityRepository,
        device_logins: DeviceLoginRepository,
        mail_tokens: MailTokenRepository,
        invitations: InvitationRepository,
        transfers: OwnershipTransferRepository,
        mail_allowances: MailAllowanceRepository,
        attempts: SignInAttemptRepository,
        share_links: ShareLinkRepository,
        upload_tokens: UploadTokenRepository,
        stats: StatsRepository,
        events: EventDispatchRepository,
        webhooks: WebhookRepository,
    ) -> None:
        self._sessions = sessions
        self._identities = identities
        self._device_logins = device_logins
        self._mail_tokens = mail_tokens
        self._invitations = invitations
        self._transfers = transfers
        self._mail_allowances = mail_allowances
        self._attempts = attempts
        self._share_links = share_links
        self._upload_tokens = upload_tokens
        self._stats = stats
        self._events = events
        self._webhooks = webhooks

    def count_uploads(self) -> int:
        """Count the uploads and downloads of the hours that have ended, so that the statistics need not; return the number of hours."""
        return self._stats.count_ended_hours(days=STATS_DAYS_MAX)

    def purge(self) -> dict[str, int]:
        """Delete expired rows in transactions of their own, and return how many of each kind were deleted.

        If one kind fails, the others are still deleted; then the first error is raised.
        """
        now = clock.now()
        steps = {
            "sessions": partial(self._sessions.purge, ended_before=now - ENDED_RETENTION),
            "used_assertions": partial(self._identities.purge_assertions, expired_before=now),
            "device_logins": partial(self._device_logins.purge, expired_before=now),
            "mail_tokens": partial(self._mail_tokens.purge, expired_before=now - ENDED_RETENTION),
            "invitations": partial(self._invitations.purge, expired_before=now - ENDED_RETENTION),
            "transfers": partial(self._transfers.purge, ended_before=now - ENDED_RETENTION),
            "mail_allowances": partial(self._mail_allowances.purge),
            "sign_in_attempts": partial(self._attempts.purge),
            "upload_tokens": partial(self._upload_tokens.purge, expired_before=now - ENDED_RETENTION),
            "events": partial(self._events.purge, before=now - EVENT_RETENTION),
            "webhooks": partial(self._webhooks.purge),
            "share_visitors": partial(self._share_links.purge_download_visitors, before=now - RESUME_WITHIN),
        }
        removed: dict[str, int] = {}
        errors: list[Exception] = []
        for kind, step in steps.items():
            try:
                removed[kind] = step()
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
        if errors:
            raise errors[0]
        return removed
