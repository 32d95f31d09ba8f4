"""Sends the mails with notifications that are due."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.mail import Mailer
from lambda_app.repositories.accounts.mail_allowances import MAIL_WINDOW, MAILS_BY_ACCOUNT, MailAllowanceRepository, MailRequester
from lambda_app.repositories.notifications.digests import ClaimedDigest, DigestRepository, Recipient
from lambda_app.services.notifications.collector import MAIL_PAUSE
from lambda_app.services.notifications.mails import NotificationMails

LEASE = timedelta(minutes=5)
"""Time in which a sender must have sent a claimed mail. Longer than a call of SES may take."""
RETRY_FIRST = timedelta(minutes=5)
RETRY_LONGEST = timedelta(hours=6)
ATTEMPTS_MAX = 8
"""Over about 17 hours. Then the notifications are dropped: they are old, and the web app shows the same."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DigestReport:
    """The result of a run."""

    sent: int
    failed: int


class DigestSender:
    """Sends mails: each is claimed and committed before it is sent, so that two senders never send the same one.

    After a crash between sending and its confirmation, the mail is sent again. Without a transaction that includes SES, the alternative
    would be to lose it.
    """

    def __init__(self, *, digests: DigestRepository, allowances: MailAllowanceRepository, mails: NotificationMails, mailer: Mailer) -> None:
        self._digests = digests
        self._allowances = allowances
        self._mails = mails
        self._mailer = mailer

    def run(self, *, budget_seconds: float) -> DigestReport:
        """Send the mails that are due, the oldest first, within the time budget."""
        ends_at = monotonic() + budget_seconds
        sent = failed = 0
        while monotonic() < ends_at and (claimed := self._digests.claim(now=clock.now(), lease=LEASE)) is not None:
            was_sent = self._deliver(claimed)
            sent += was_sent is True
            failed += was_sent is False
        return DigestReport(sent, failed)

    def _deliver(self, claimed: ClaimedDigest) -> bool | None:
        """Send a claimed mail. True: sent. False: failed. None: there was nothing to send, or its turn has not come."""
        recipient = claimed.recipient
        if claimed.attempts >= ATTEMPTS_MAX:
            # Each attempt ended its process.
            return self._drop(claimed)
        if recipient is None or not claimed.content:
            self._digests.complete(claimed.user_id, now=clock.now(), pause=MAIL_PAUSE, was_sent=False)
            return None
        if not self._is_admitted(recipient):
            self._digests.postpone(claimed.user_id, until=clock.now() + MAIL_WINDOW, attempts=claimed.attempts)
            return None
        self._digests.release_connection()
        try:
            self._mailer.send(self._mails.compose(recipient, claimed.content))
        except UnavailableError:
            logger.warning("A mail with notifications was not sent", exc_info=True)
            return self._fail(claimed)
        self._digests.complete(claimed.user_id, now=clock.now(), pause=MAIL_PAUSE, was_sent=True)
        return True

    def _fail(self, claimed: ClaimedDigest) -> bool:
        if claimed.attempts + 1 >= ATTEMPTS_MAX:
            return self._drop(claimed)
        delay = min(RETRY_FIRST * 2**claimed.attempts, RETRY_LONGEST)
        self._digests.postpone(claimed.user_id, until=clock.now() + delay, attempts=claimed.attempts + 1)
        return False

    def _drop(self, claimed: ClaimedDigest) -> bool:
        logger.error("A mail with notifications is dropped after %s attempts", ATTEMPTS_MAX)
        self._digests.complete(claimed.user_id, now=clock.now(), pause=MAIL_PAUSE, was_sent=False)
        return False

    def _is_admitted(self, recipient: Recipient) -> bool:
        """Count the mail. Several accounts with tagged addresses (`name+tag@host`) share the limit of one mailbox."""
        requester = MailRequester(f"user|{recipient.user_id}", MAILS_BY_ACCOUNT)
        return self._allowances.consume("notification", email=recipient.email, requester=requester)
