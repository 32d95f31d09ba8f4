"""Invitations by mail: superusers invite people to create an account, owners invite them to a file (docs/adr/0041-invitations.md)."""

from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotFoundError, PermissionDeniedError, TooManyRequestsError
from lambda_app.core.mail import Mail, MailNotConfiguredError
from lambda_app.core.security.random_tokens import hash_secret, new_secret
from lambda_app.models import Invitation, User
from lambda_app.repositories.accounts.invitations import InvitationRepository
from lambda_app.repositories.accounts.mail_allowances import (
    MAIL_WINDOW,
    MAILS_BY_ACCOUNT,
    MailAllowanceRepository,
    MailRequester,
)
from lambda_app.repositories.accounts.users import EmailTakenError, UserRepository
from lambda_app.repositories.files.files import FileRepository
from lambda_app.repositories.sharing.named_access import NamedAccessRepository
from lambda_app.schemas.accounts.invitations import FileInvitationCreate
from lambda_app.schemas.accounts.users import UserCreate
from lambda_app.schemas.files.file_lists import FileOrder, Order
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.recovery import MailPolicy, MailTokenSpentError, PasswordRequiredError
from lambda_app.services.accounts.sessions import EmailNotVerifiedError, PasswordSignInClosedError
from lambda_app.services.accounts.users import UserService
from lambda_app.services.sharing.grants import OwnFileError

INVITATION_LIFETIME = timedelta(days=7)
PENDING_PER_USER = 100
"""Invitations of one user that wait for their recipients."""
MAILS_BY_SUPERUSER = 200
"""Invitations of one superuser in MAIL_WINDOW."""
_KIND = "invitation"
_NEWEST_FIRST = FileOrder.of(Order.NEWEST_FIRST)

# The mails contain no text that an inviter wrote, such as a file name: they could be used to send advertisements.
_ACCOUNT_MAIL = """An administrator of {service} has invited you to create an account. {step} within seven days:

{link}

If you did not expect this invitation, ignore this mail.
"""
_FILE_MAIL = """{inviter} wants to share a file with you. Accept the invitation within seven days:

{link}

{step} If you do not know the sender, ignore this mail.
"""


class InvitationsClosedError(PermissionDeniedError):
    """Users cannot invite addresses on this server."""

    code = "invitations_closed"
    message = "Only an administrator can invite people"


class TooManyInvitationsError(ConflictError):
    """The user has reached the limit of pending invitations."""

    code = "too_many_invitations"
    message = f"At most {PENDING_PER_USER} invitations can wait for their recipients; withdraw one first"


class TooManyInvitationMailsError(TooManyRequestsError):
    """The limit of mails of the inviter or to the address is reached."""

    code = "too_many_invitation_mails"
    message = "Too many invitations were sent by you or to this address; try again in half an hour"


class InvitationNotFoundError(NotFoundError):
    """The caller has no invitation with this id."""

    code = "invitation_not_found"
    message = "Invitation not found"


class SignInRequiredError(PermissionDeniedError):
    """The invited address has an account, whose owner must accept the invitation."""

    code = "sign_in_required"
    message = "This address has an account; sign in to it, then open the link in the mail again"


class SentInvitation(NamedTuple):
    """An invitation and its mail, which the caller sends after the commit."""

    invitation: Invitation
    mail: Mail


class InvitationPage(NamedTuple):
    """One page of invitations, and the cursor of the next if there is one."""

    invitations: list[Invitation]
    next_cursor: Cursor | None


class InvitationService:
    """Sends, lists, withdraws and accepts invitations."""

    def __init__(
        self,
        *,
        invitations: InvitationRepository,
        allowances: MailAllowanceRepository,
        users: UserRepository,
        accounts: UserService,
        files: FileRepository,
        named_access: NamedAccessRepository,
        policy: MailPolicy,
        by_users: bool,
    ) -> None:
        self._invitations = invitations
        self._allowances = allowances
        self._users = users
        self._accounts = accounts
        self._files = files
        self._named_access = named_access
        self._policy = policy
        self._by_users = by_users

    def invite(self, superuser: User, email: str) -> SentInvitation:
        """Invite an address to create an account, also where registration is closed. Superusers only.

        Raises PermissionDeniedError, MailNotConfiguredError, EmailTakenError, TooManyInvitationMailsError.
        """
        if not superuser.is_superuser:
            raise PermissionDeniedError
        self._require_mail()
        if self._users.get_by_email(email) is not None:
            raise EmailTakenError
        return self._send(superuser, email)

    def invite_to_file(self, user: User, file_id: UUID, parameters: FileInvitationCreate) -> SentInvitation:
        """Share a file with an address, which need not have an account. It takes effect when the reader of the mail accepts.

        No account is looked up: the result and the time do not depend on whether the address has one.

        Raises InvitationsClosedError, MailNotConfiguredError, EmailNotVerifiedError, NoSuchFileError, FileForbiddenError, OwnFileError,
        TooManyInvitationsError, TooManyInvitationMailsError.
        """
        if not self._by_users and not user.is_superuser:
            raise InvitationsClosedError
        self._require_mail()
        self._require_may_share(user, file_id)
        if parameters.email == user.email:
            raise OwnFileError
        return self._send(user, parameters.email, file_id=file_id, role=parameters.role)

    def resend(self, user: User, invitation_id: UUID) -> SentInvitation:
        """Send the mail again with a new link; the earlier link becomes invalid.

        Nothing is sent for an invitation that could not be accepted, or that its inviter could not send now.

        Raises InvitationNotFoundError, InvitationsClosedError, MailNotConfiguredError, EmailNotVerifiedError, NoSuchFileError,
        FileForbiddenError, TooManyInvitationMailsError.
        """
        found = self._invitations.get(invitation_id, user)
        if found is None:
            raise InvitationNotFoundError
        inviter = self._users.require(found.inviter_id)
        if not inviter.is_active or (not inviter.is_superuser and (not self._by_users or found.file_id is None)):
            raise InvitationsClosedError
        self._require_mail()
        if found.file_id is not None:
            self._require_may_share(inviter, found.file_id)
        self._count_mail(user, found.email)
        token = new_secret()
        expires_at = clock.now() + INVITATION_LIFETIME
        invitation = self._invitations.renew(invitation_id, user, token_hash=hash_secret(token), expires_at=expires_at)
        if invitation is None:
            raise InvitationNotFoundError
        return SentInvitation(invitation, self._mail(inviter, invitation, token))

    def withdraw(self, user: User, invitation_id: UUID) -> None:
        """Delete an invitation; its link becomes invalid. Raises InvitationNotFoundError."""
        if not self._invitations.withdraw(invitation_id, user):
            raise InvitationNotFoundError

    def page(self, user: User, *, of_all: bool, file_id: UUID | None, limit: int, after: Cursor | None) -> InvitationPage:
        """Return one page of the user's invitations, newest first; with `of_all`, which only superusers can use, of all inviters.

        Raises PermissionDeniedError, MalformedRequestError for a cursor of another order.
        """
        if of_all and not user.is_superuser:
            raise PermissionDeniedError
        if after is not None:
            after.value_for(_NEWEST_FIRST)
        rows = self._invitations.page(user, of_all=of_all, file_id=file_id, limit=limit + 1, after=after)
        shown = rows[:limit]
        return InvitationPage(shown, Cursor(_NEWEST_FIRST, shown[-1].created_at, shown[-1].id) if len(rows) > limit else None)

    def accept(self, token: str, *, caller: User | None, password: str | None) -> User:
        """Accept an invitation, and with it all files that the address was invited to. Return the account.

        The token proves who reads the address. Without an account, `password` becomes the password of a new one, whose address is
        confirmed. An existing account must be the caller's: the reader of the mail may not be the person who registered the address.

        Raises MailTokenSpentError, PasswordRequiredError, PasswordSignInClosedError, SignInRequiredError, WeakPasswordError.
        """
        invitation = self._invitations.get_valid(hash_secret(token), for_files=self._by_users)
        if invitation is None:
            raise MailTokenSpentError
        email = invitation.email
        user = self._users.get_by_email(email)
        if user is None:
            if not self._policy.accepts_passwords:
                # A sign-in with a provider that has verified the address creates the account.
                raise PasswordSignInClosedError
            if password is None:
                raise PasswordRequiredError("Choose a password for your new account and send it as `password`")
            # The password is checked and hashed before the token is redeemed, so the reader can try again with the same link.
            user = self._accounts.register_invited(UserCreate(email=email, password=password))
        elif caller is None or caller.id != user.id:
            raise SignInRequiredError
        else:
            user = self._users.lock(user.id)
        if not self._invitations.redeem(hash_secret(token)) or user.email != email:
            raise MailTokenSpentError
        self._named_access.activate(user.id, email=email)
        if not user.email_verified:
            user = self._users.update(user.id, {"email_verified_at": clock.now()}, action="user.email_verified")
        return user

    def _send(self, user: User, email: str, *, file_id: UUID | None = None, role: str | None = None) -> SentInvitation:
        self._count_mail(user, email)
        if not user.is_superuser:
            # Locked, so that concurrent requests do not exceed the limit.
            self._users.lock_current(user)
            if self._invitations.count_pending(user.id) >= PENDING_PER_USER:
                raise TooManyInvitationsError
        now, token = clock.now(), new_secret()
        invitation = Invitation(
            id=uuid4(),
            inviter_id=user.id,
            email=email,
            file_id=file_id,
            role=role,
            token_hash=hash_secret(token),
            created_at=now,
            sent_at=now,
            expires_at=now + INVITATION_LIFETIME,
        )
        stored = self._invitations.put(invitation)
        return SentInvitation(stored, self._mail(user, stored, token))

    def _mail(self, inviter: User, invitation: Invitation, token: str) -> Mail:
        # Browsers do not send the fragment, so the token appears neither in the page's access log nor in a Referer header.
        link = f"{self._policy.public_url}/invitation#{urlencode({'token': token})}"
        if invitation.file_id is None:
            step = "Choose a password" if self._policy.accepts_passwords else "Sign in with this address"
            text = _ACCOUNT_MAIL.format(service=self._policy.public_url, step=step, link=link)
            return Mail(to=invitation.email, subject="You are invited to create an account", text=text, link=link)
        action = "choose a password for a new one" if self._policy.accepts_passwords else "sign in with this address first"
        text = _FILE_MAIL.format(inviter=inviter.email, step=f"If you have no account yet, {action}.", link=link)
        return Mail(to=invitation.email, subject=f"{inviter.email} shares a file with you", text=text, link=link)

    def _require_may_share(self, inviter: User, file_id: UUID) -> None:
        if not inviter.email_verified:
            # The mail names the sender by this address.
            raise EmailNotVerifiedError("The inviter must confirm the own e-mail address before people are invited")
        self._files.require_manageable(file_id, inviter)

    def _count_mail(self, user: User, email: str) -> None:
        requester = MailRequester(f"user|{user.id}", MAILS_BY_SUPERUSER if user.is_superuser else MAILS_BY_ACCOUNT)
        if not self._allowances.consume(_KIND, email=email, requester=requester):
            raise TooManyInvitationMailsError.until(clock.now() + MAIL_WINDOW)

    def _require_mail(self) -> None:
        if not self._policy.can_send:
            raise MailNotConfiguredError
