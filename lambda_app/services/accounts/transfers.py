"""Ownership transfers: a user hands all files over to another account, which has to accept."""

from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import NamedTuple
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, PermissionDeniedError
from lambda_app.core.mail import Mail
from lambda_app.models import OwnershipTransfer, TransferStatus, User
from lambda_app.repositories.accounts.mail_allowances import MAILS_BY_ACCOUNT, MailAllowanceRepository, MailRequester
from lambda_app.repositories.accounts.transfers import FoundTransfer, OwnershipTransferRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose
from lambda_app.services.accounts.second_factor import SecondFactorVerifier
from lambda_app.services.files.quota import Quota, QuotaExceededError
from lambda_app.services.sharing.grants import GranteeNotFoundError
from lambda_app.services.sharing.recipient_lookup import RecipientLookup

OfferedTransfer = FoundTransfer
"""A transfer with both accounts, as the routes show it."""
TRANSFER_LIFETIME = timedelta(days=7)
"""How long the recipient can accept."""
MOVING_SECONDS = 8.0
"""How long a request moves files; the sweep continues. Below the timeout of the gateway, with one batch to spare."""
_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)
_MAIL = """{giver} wants to hand all files of an account over to you: {files} files, {size} bytes.

Sign in and open the settings to accept or decline. If you do nothing, the offer expires in seven days.
"""

_GIVERS_MAIL = """All files of your account were offered to {recipient}: {files} files, {size} bytes. They move if the recipient accepts.

If neither you nor an administrator did this, choose a new password: that makes the offer invalid. You can also withdraw it in the settings.
"""


class TransferNotFoundError(NotFoundError):
    """The caller has no transfer with this id that the caller can change so."""

    code = "transfer_not_found"
    message = "Transfer not found"


class TransferOpenError(ConflictError):
    """Another transfer of the account waits for consent or is in progress."""

    code = "transfer_open"
    message = "A transfer of this account is open already; withdraw it first, or wait until it is done"


class TransferToSelfError(ConflictError):
    """The recipient has the files already."""

    code = "transfer_to_self"
    message = "The files belong to this account already; choose another recipient"


class TransferClosedError(ConflictError):
    """The transfer was declined, withdrawn, or has expired."""

    code = "transfer_closed"
    message = "This transfer has ended; ask the owner for a new one"


class TransferPage(NamedTuple):
    """One page of transfers, and the cursor of the next if there is one."""

    transfers: list[FoundTransfer]
    next_cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class FileMover:
    """Moves the files of an accepted transfer, batch by batch."""

    transfers: OwnershipTransferRepository
    default_quota: Quota

    def move(self, transfer_id: UUID, *, seconds: float) -> None:
        """Move files until none is left that fits into the recipient's quota, or the time is over. Can be repeated."""
        deadline = monotonic() + seconds
        quota = self.default_quota
        while self.transfers.move_batch(transfer_id, default_bytes=quota.bytes, default_files=quota.files):
            if monotonic() >= deadline:
                return


class TransferService:
    """Offers, accepts and ends ownership transfers."""

    def __init__(
        self,
        *,
        transfers: OwnershipTransferRepository,
        users: UserRepository,
        recipient_lookup: RecipientLookup,
        login_throttle: LoginThrottle,
        second_factor: SecondFactorVerifier,
        allowances: MailAllowanceRepository,
        mover: FileMover,
    ) -> None:
        self._transfers = transfers
        self._users = users
        self._recipient_lookup = recipient_lookup
        self._login_throttle = login_throttle
        self._second_factor = second_factor
        self._allowances = allowances
        self._mover = mover

    def offer(
        self, editor: User, user_id: UUID, *, recipient: str, current_password: str | None, otp: str | None
    ) -> tuple[FoundTransfer, list[Mail]]:
        """Offer all files of the account to the account with the address `recipient`; return the mails to both, if they may be sent.

        The editor's own account, or any account for a superuser, also one that is going to be deleted.

        Raises PermissionDeniedError, CurrentPasswordError, SecondFactorRequiredError, BadSecondFactorError, ThrottledError, NotFoundError,
        GranteeNotFoundError, TransferToSelfError, TransferOpenError.
        """
        if editor.id != user_id and not editor.is_superuser:
            raise PermissionDeniedError
        self._login_throttle.require_password(editor, current_password, purpose=PasswordPurpose.CHANGE)
        self._second_factor.require(editor, otp)
        giver = self._users.require(user_id)
        found = self._recipient_lookup.find(editor, [recipient])
        recipient_id = found.user_ids.get(recipient)
        if recipient_id is None or recipient in found.unconfirmed:
            raise GranteeNotFoundError
        if recipient_id == user_id:
            raise TransferToSelfError
        now = clock.now()
        transfer = OwnershipTransfer(
            id=uuid4(),
            from_id=user_id,
            to_id=recipient_id,
            from_email=giver.email,
            to_email=recipient,
            status=TransferStatus.REQUESTED,
            token_epoch=_epoch_of(giver),
            created_at=now,
            expires_at=now + TRANSFER_LIFETIME,
        )
        mails = self._mails(editor, giver, recipient)
        if self._transfers.add(transfer) is None:
            raise TransferOpenError
        return self._require(transfer.id), mails

    def page(self, user: User, *, limit: int, after: Cursor | None) -> TransferPage:
        """Return one page of the transfers from and to the user, newest first. Raises MalformedRequestError."""
        if after is not None:
            after.value_for(_NEWEST_FIRST)
        rows = self._transfers.page(user.id, limit=limit + 1, after=after)
        shown = rows[:limit]
        last = shown[-1].transfer if len(rows) > limit else None
        return TransferPage(shown, None if last is None else Cursor(_NEWEST_FIRST, last.created_at, last.id))

    def accept(self, user: User, transfer_id: UUID) -> FoundTransfer:
        """Accept a transfer to the user, move files for some seconds, and return the state. Accepting again continues.

        Raises TransferNotFoundError, TransferClosedError, QuotaExceededError.
        """
        if not self._transfers.accept(transfer_id, user.id, require=self._require_acceptable):
            raise TransferNotFoundError
        self._mover.move(transfer_id, seconds=MOVING_SECONDS)
        return self._require(transfer_id)

    def _require_acceptable(self, found: FoundTransfer) -> None:
        transfer, giver, recipient = found
        now = clock.now()
        is_gone = giver.deletion_at is not None and giver.deletion_at <= now
        # The offer ends with the sessions of the giver, who may not be the person who made it.
        is_stale = transfer.token_epoch != _epoch_of(giver)
        if transfer.status != TransferStatus.REQUESTED or transfer.expires_at <= now or is_gone or is_stale:
            raise TransferClosedError
        quota = self._mover.default_quota.of(recipient)
        if recipient.bytes_used + giver.bytes_used > quota.bytes or recipient.files_count + giver.files_count > quota.files:
            raise QuotaExceededError.of(quota, recipient)

    def decline(self, user: User, transfer_id: UUID) -> None:
        """Decline a transfer to the user. Raises TransferNotFoundError."""
        if not self._transfers.end(transfer_id, to_id=user.id, action="ownership.declined"):
            raise TransferNotFoundError

    def withdraw(self, user: User, transfer_id: UUID) -> None:
        """Withdraw a transfer that was not accepted: of the user's own files, or any for a superuser. Raises TransferNotFoundError."""
        giver_id = None if user.is_superuser else user.id
        if not self._transfers.end(transfer_id, from_id=giver_id, action="ownership.withdrawn"):
            raise TransferNotFoundError

    def _mails(self, editor: User, giver: User, recipient: str) -> list[Mail]:
        requester = MailRequester(f"user|{editor.id}", MAILS_BY_ACCOUNT)
        facts = {"giver": giver.email, "recipient": recipient, "files": f"{giver.files_count:,}", "size": f"{giver.bytes_used:,}"}
        mails = (
            ("transfer", Mail(to=recipient, subject="Files are offered to you", text=_MAIL.format(**facts))),
            (
                "transfer_offered",
                Mail(to=giver.email, subject="Your files are offered to another account", text=_GIVERS_MAIL.format(**facts)),
            ),
        )
        return [mail for kind, mail in mails if self._allowances.consume(kind, email=mail.to, requester=requester)]

    def _require(self, transfer_id: UUID) -> FoundTransfer:
        found = self._transfers.get(transfer_id)
        if found is None:
            raise TransferNotFoundError
        return found


def _epoch_of(giver: User) -> int:
    # Users may close their account after the offer, which ends their sessions. A disabled or closed account stays as it is.
    return giver.token_epoch - (1 if giver.deletion_at is not None and giver.deletion_is_own else 0)
