"""Mails the address of a share link to people whom its owner names."""

from dataclasses import dataclass
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, PermissionDeniedError, TooManyRequestsError
from lambda_app.core.mail import Mail, MailNotConfiguredError
from lambda_app.models import Share, ShareAudience, User
from lambda_app.repositories.accounts.mail_allowances import MailAllowanceRepository, MailRequester, counted_address
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.sharing.shares import NoSuchShareError
from lambda_app.schemas.sharing.shares import ShareMail
from lambda_app.schemas.text import DIRECTION_MARKS
from lambda_app.services.accounts.recovery import MailPolicy
from lambda_app.services.sharing.shares import ShareRevokedError, ShareService

MAIL_KIND = "share_link"
LINK_MAILS_BY_ACCOUNT = 40
"""Mails of links that one account can send within `MAIL_WINDOW`, to all addresses together."""


class ShareExpiredError(ConflictError):
    """The link has expired, so its address leads nowhere."""

    code = "share_expired"
    message = "This share link has expired; change its expiry first"


class ShareAddressUnknownError(ConflictError):
    """The server cannot read the address of the link."""

    code = "share_address_unknown"
    message = "The server does not know the address of this link any more; give the link a new address first"


class UnverifiedSenderError(PermissionDeniedError):
    """The sender has not confirmed the own address, which the mail names."""

    code = "sender_not_verified"
    message = "Confirm your e-mail address before you send mail to others"


class TooManyLinkMailsError(TooManyRequestsError):
    """The account has sent too many mails of links."""

    code = "too_many_mails"
    message = f"An account can mail links to at most {LINK_MAILS_BY_ACCOUNT} addresses in half an hour; wait before you send more"


@dataclass(frozen=True, slots=True)
class LinkMailSettings:
    """Whether mail can be sent, what share links begin with, and the name of the service."""

    policy: MailPolicy
    link_base: str
    brand: str


class LinkMailService:
    """Builds the mails. The caller sends them, after the audit event is committed."""

    def __init__(
        self, *, shares: ShareService, allowances: MailAllowanceRepository, audit: AuditRepository, settings: LinkMailSettings
    ) -> None:
        self._shares = shares
        self._allowances = allowances
        self._audit = audit
        self._settings = settings

    def build(self, user: User, share_id: UUID, parameters: ShareMail) -> list[Mail]:
        """Return the mails with the address of one of the user's own links, one for each recipient.

        A recipient who has received the maximum of such mails is left out, and the caller does not learn which: the limit also counts the
        mails of other senders. Raises MailNotConfiguredError, NoSuchShareError, ShareRevokedError, ShareExpiredError,
        ShareAddressUnknownError, UnverifiedSenderError, TooManyLinkMailsError.
        """
        if not self._settings.policy.can_send:
            raise MailNotConfiguredError
        found = self._shares.get(user, share_id)
        share = found.details.share
        if share.owner_id != user.id:
            raise NoSuchShareError
        if share.revoked_at is not None:
            raise ShareRevokedError
        if share.expires_at is not None and share.expires_at <= clock.now():
            raise ShareExpiredError
        if found.address is None:
            raise ShareAddressUnknownError
        if not user.email_verified:
            raise UnverifiedSenderError
        # Each mailbox once.
        addresses = list({counted_address(address): address for address in parameters.addresses}.values())
        requester = MailRequester(f"user|{user.id}", LINK_MAILS_BY_ACCOUNT)
        blocked_until = self._allowances.full_until(MAIL_KIND, requester, mails=len(addresses))
        if blocked_until is not None:
            raise TooManyLinkMailsError.until(blocked_until)
        admitted = [address for address in addresses if self._allowances.consume(MAIL_KIND, email=address, requester=requester)]
        url = f"{self._settings.link_base}/s/{found.address}"
        text = _text(user, share, found.details.summary.file_count, url=url, message=parameters.message, brand=self._settings.brand)
        # The sender can read the event: the number of admitted ones would tell how many mails an address has received.
        self._audit.add("share.mailed", subject=f"{Share.__tablename__}:{share.id}", details={"recipient_count": len(addresses)})
        return [Mail(to=address, subject=f"A link to files from {user.email}", text=text, link=url) for address in admitted]


def _text(user: User, share: Share, file_count: int, *, url: str, message: str | None, brand: str) -> str:
    """Return the text of the mail. The sender's words are quoted, so that they cannot be read as those of the service."""
    files = "1 file" if file_count == 1 else f"{file_count} files"
    parts = [f"{user.email} sends you a link to {files} with {brand}:", url]
    if share.hashed_password is not None:
        parts.append("The link is protected with a password, which the sender can tell you.")
    if share.audience != ShareAudience.ANYONE:
        parts.append("The link is for users with an account: sign in to open it.")
    if share.expires_at is not None:
        parts.append(f"It works until {share.expires_at:%d %B %Y, %H:%M} UTC.")
    parts += _quoted("Title:", share.title) + _quoted("Message of the sender:", message)
    parts.append(f"You receive this mail because {user.email} entered your address. If you do not know the sender, do not open the link.")
    return "\n\n".join(parts) + "\n"


def _quoted(heading: str, text: str | None) -> list[str]:
    lines = DIRECTION_MARKS.sub("", text or "").strip().splitlines()
    return ["\n".join([heading, *(f"> {line}" for line in lines)])] if lines else []
