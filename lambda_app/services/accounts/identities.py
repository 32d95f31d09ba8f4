"""Sign-in with an identity provider: the account of an identity, linking, and fresh proofs (docs/adr/0040-identity-providers.md)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotAuthenticatedError, NotFoundError, PermissionDeniedError
from lambda_app.core.identity.assertions import CODE_LIFETIME, Assertion, Assertions, BadAssertionError, Purpose
from lambda_app.core.identity.id_tokens import Identity
from lambda_app.core.identity.providers import IdentityProvider
from lambda_app.core.mail import Mail
from lambda_app.core.request_context import current_session_id
from lambda_app.models import User, UserIdentity
from lambda_app.repositories.accounts.identities import IdentityRepository, Subject
from lambda_app.repositories.accounts.invitations import InvitationRepository
from lambda_app.repositories.accounts.mail_allowances import MAIL_WINDOW
from lambda_app.repositories.accounts.second_factors import SecondFactorRepository
from lambda_app.repositories.accounts.sessions import SessionRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.repositories.sharing.named_access import NamedAccessRepository
from lambda_app.repositories.sharing.open_access import OpenAccessRepository
from lambda_app.schemas.accounts.users import normalise_email
from lambda_app.services.accounts.login_throttle import CurrentPasswordError, FreshSignInRequiredError, LoginThrottle, PasswordPurpose
from lambda_app.services.accounts.request_limits import RequestLimits
from lambda_app.services.accounts.second_factor import SecondFactorVerifier
from lambda_app.services.accounts.sessions import SessionService, SignedIn
from lambda_app.services.accounts.users import REGISTRATION_KIND, TooManyRegistrationsError

IDENTITIES_MAX_COUNT = 20
"""Identities of one account."""

_LINKED_MAIL = """From now on, {provider} can be used to sign in to your account.

If this wasn't you, sign in, unlink the provider in the settings, and end all other sessions.
"""


class NoAccountError(PermissionDeniedError):
    """No account belongs to the identity, and none can be created; or the account is disabled."""

    code = "no_account"
    message = (
        "No account belongs to this sign-in. If you have one, sign in to it and link the provider in the settings; "
        "otherwise ask the administrator for an account"
    )


class LastSignInMethodError(ConflictError):
    """Without the identity, the user could not sign in any more."""

    code = "last_sign_in_method"
    message = "This is the only way to sign in to the account; set a password or link another provider first"


class TooManyIdentitiesError(ConflictError):
    """The account has the maximum number of identities."""

    code = "too_many_identities"
    message = f"An account can have at most {IDENTITIES_MAX_COUNT} linked identities; unlink one first"


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """The providers, and the settings that decide about accounts and passwords."""

    providers: Mapping[str, IdentityProvider]
    open_registration: bool
    accepts_passwords: bool
    invitations_by_users: bool


@dataclass(frozen=True, slots=True)
class IdentitySignIn:
    """A session that was started by an identity, and the mail to the owner of an account that was linked by its address."""

    signed_in: SignedIn
    mail: Mail | None


@dataclass(frozen=True, slots=True)
class _Proven:
    """What an account was like when it was found by the address that the assertion proves."""

    email: str
    token_epoch: int
    is_confirmed: bool


class IdentityService:
    """Turns assertions into sessions, links and proofs."""

    def __init__(  # noqa: PLR0913 - a parameter for each of its parts
        self,
        *,
        assertions: Assertions | None,
        identities: IdentityRepository,
        users: UserRepository,
        invitations: InvitationRepository,
        session_rows: SessionRepository,
        factors: SecondFactorRepository,
        open_access: OpenAccessRepository,
        named_access: NamedAccessRepository,
        sessions: SessionService,
        second_factor: SecondFactorVerifier,
        login_throttle: LoginThrottle,
        limits: RequestLimits,
        policy: IdentityPolicy,
    ) -> None:
        self._assertions = assertions
        self._identities = identities
        self._users = users
        self._invitations = invitations
        self._session_rows = session_rows
        self._factors = factors
        self._open_access = open_access
        self._named_access = named_access
        self._sessions = sessions
        self._second_factor = second_factor
        self._login_throttle = login_throttle
        self._limits = limits
        self._policy = policy

    def sign_in(self, token: str, *, binding: str | None, otp: str | None, keeps_account: bool) -> IdentitySignIn:
        """Start a session for the person of an assertion.

        The account is that of the linked identity, or that of the verified address of a trusted provider, or a new one.

        Raises BadAssertionError, NoAccountError, EmailNotVerifiedError, SecondFactorRequiredError, BadSecondFactorError,
        AccountDeletionPendingError, ThrottledError, TooManyRegistrationsError, UnavailableError.
        """
        assertion, provider = self._read(token, binding=binding, purpose=Purpose.SIGN_IN)
        found = self._identities.find(_subject_of(assertion))
        email = None if found else _proven_address(assertion.identity, provider)
        user = found[1] if found else self._users.get_by_email(email) if email else None
        if user is None:
            return IdentitySignIn(self._register(assertion, provider, email), None)
        # An address that was never proven may have been registered by another person, who then also set up the second factor.
        is_takeover = found is None and user.email_verified_at is None
        if not (user.is_active or user.deletion_is_own) or (is_takeover and user.is_superuser):
            self._login_throttle.record_refused_sign_in(user, reason="disabled" if not user.is_active else "unproven")
            raise NoAccountError
        proven = _Proven(email or user.email, user.token_epoch, is_confirmed=not is_takeover)
        # The factor of an account that had a confirmed address belongs to a person: the new address may be mistyped.
        has_factor = not is_takeover or user.had_verified_email
        if has_factor:
            self._require_timely(assertion, user)
        elif assertion.is_expired:
            raise BadAssertionError
        if not is_takeover:
            user = self._sessions.require_admitted(user, otp=otp, keeps_account=keeps_account)
        elif has_factor:
            self._second_factor.require(user, otp)
        self._use(assertion)
        if found is not None:
            self._identities.record_use(found[0].id, email=assertion.identity.email)
            return IdentitySignIn(self._sessions.open(user, details={"provider": provider.id}), None)
        user = self._take_over(user, proven) if is_takeover else self._lock_with_address(user, proven)
        self._link(assertion, user, by="address")
        return IdentitySignIn(self._sessions.open(user, details={"provider": provider.id}), _linked_mail(user, provider))

    def verify_visitor(self, token: str, *, binding: str, otp: str | None) -> User:
        """Return the user of an assertion, for a share link. It opens no session, makes no account and links nothing.

        The account is that of the linked identity, or that of the verified address of a trusted provider if it has confirmed the address.

        Raises BadAssertionError, NoAccountError, EnrolmentRequiredError, the errors of `SessionService.require_admitted`, UnavailableError.
        """
        assertion, provider = self._read(token, binding=binding, purpose=Purpose.OPEN_LINK)
        found = self._identities.find(_subject_of(assertion))
        email = None if found else _proven_address(assertion.identity, provider)
        user = found[1] if found else self._users.get_by_email(email) if email else None
        if user is None or (found is None and user.email_verified_at is None):
            raise NoAccountError
        if not (user.is_active or user.deletion_is_own):
            self._login_throttle.record_refused_sign_in(user, reason="disabled")
            raise NoAccountError
        self._require_timely(assertion, user)
        user = self._sessions.require_admitted_visitor(user, otp=otp)
        self._use(assertion)
        if found is not None:
            self._identities.record_use(found[0].id, email=assertion.identity.email)
        return user

    def link(self, user: User, token: str, *, binding: str | None) -> tuple[UserIdentity, Mail]:
        """Link the identity of an assertion to the signed-in account; return it, and the mail to the owner.

        Raises FreshSignInRequiredError, BadAssertionError, IdentityTakenError, TooManyIdentitiesError, NotAuthenticatedError,
        UnavailableError.
        """
        self._require_fresh_proof(user)
        assertion, provider = self._read(token, binding=binding, purpose=Purpose.LINK)
        if assertion.is_expired:
            raise BadAssertionError
        self._use(assertion)
        # A reset of the password ends the sessions and removes the identities. A request that it overtakes must not link another one.
        epoch = user.token_epoch
        if self._users.lock(user.id).token_epoch != epoch:
            raise NotAuthenticatedError
        if len(self._identities.list_of(user.id)) >= IDENTITIES_MAX_COUNT:
            raise TooManyIdentitiesError
        return self._link(assertion, user, by="user"), _linked_mail(user, provider)

    def unlink(self, user: User, identity_id: UUID) -> None:
        """Unlink an identity of the account. Raises FreshSignInRequiredError, NotFoundError, LastSignInMethodError."""
        self._require_fresh_proof(user)
        locked = self._users.lock(user.id)
        others = [identity for identity in self._identities.list_of(user.id) if identity.id != identity_id]
        has_password = self._policy.accepts_passwords and locked.hashed_password is not None
        if not self._identities.remove(user.id, identity_id):
            raise NotFoundError("Identity not found", code="identity_not_found")
        if not has_password and not any(self._is_usable(identity) for identity in others):
            raise LastSignInMethodError

    def list_identities(self, user: User) -> list[UserIdentity]:
        """Return the identities of the account, oldest first."""
        return self._identities.list_of(user.id)

    def prove(self, user: User, *, current_password: str | None, otp: str | None, token: str | None, binding: str | None) -> None:
        """Record that the user of the current session has just proved who they are.

        By the password, or by a new sign-in at a linked provider; with a code, if the account has a second factor.

        Raises PermissionDeniedError for API keys, CurrentPasswordError, BadAssertionError, SecondFactorRequiredError,
        BadSecondFactorError, ThrottledError, UnavailableError.
        """
        session_id = current_session_id()
        if session_id is None:
            raise PermissionDeniedError
        assertion = None
        if token is None:
            # Without this check, an earlier proof of the session could be renewed without end.
            if current_password is None:
                raise CurrentPasswordError
            self._login_throttle.require_password(user, current_password, purpose=PasswordPurpose.CHANGE)
        else:
            assertion, _ = self._read(token, binding=binding, purpose=Purpose.PROOF)
            found = self._identities.find(_subject_of(assertion))
            if found is None or found[1].id != user.id:
                raise BadAssertionError
            self._require_timely(assertion, user)
        self._second_factor.require(user, otp)
        if assertion is not None:
            self._use(assertion)
        self._session_rows.mark_proved(session_id)

    def _read(self, token: str, *, binding: str | None, purpose: Purpose) -> tuple[Assertion, IdentityProvider]:
        if self._assertions is None:
            raise BadAssertionError
        assertion = self._assertions.read(token, binding=binding, purpose=purpose)
        provider = self._policy.providers.get(assertion.provider)
        # The settings may have changed since the assertion was issued.
        if provider is None or provider.issuer != assertion.issuer:
            raise BadAssertionError
        return assertion, provider

    def _require_timely(self, assertion: Assertion, user: User) -> None:
        # A code takes time to type. Without the right one, the assertion is of no use.
        if assertion.is_expired and not user.has_second_factor:
            raise BadAssertionError

    def _use(self, assertion: Assertion) -> None:
        if not self._identities.use_assertion(assertion.id, expires_at=assertion.issued_at + CODE_LIFETIME):
            raise BadAssertionError

    def _require_fresh_proof(self, user: User) -> None:
        if not self._login_throttle.has_fresh_proof(user):
            raise FreshSignInRequiredError

    def _is_usable(self, identity: UserIdentity) -> bool:
        provider = self._policy.providers.get(identity.provider)
        return provider is not None and provider.issuer == identity.issuer

    def _register(self, assertion: Assertion, provider: IdentityProvider, email: str | None) -> SignedIn:
        if email is None or not (self._policy.open_registration or provider.creates_accounts or self._is_invited(email)):
            raise NoAccountError
        if assertion.is_expired:
            raise BadAssertionError
        # The operator admits the users of a provider that creates accounts; a whole company may register from one network.
        if not provider.creates_accounts and not self._limits.admit(REGISTRATION_KIND, email=email):
            raise TooManyRegistrationsError.until(clock.now() + MAIL_WINDOW)
        self._use(assertion)
        now = clock.now()
        user = User(
            id=uuid4(),
            email=email,
            hashed_password=None,
            is_active=True,
            is_superuser=False,
            token_epoch=0,
            email_verified_at=now,
            created_at=now,
            updated_at=now,
        )
        self._users.add(user, action="user.registered")
        self._link(assertion, user, by="address")
        self._named_access.activate(user.id, email=email)
        return self._sessions.open(user, details={"provider": provider.id})

    def _is_invited(self, email: str) -> bool:
        # The provider has proven who reads the address, as the token of the mail does.
        return self._invitations.admits(email, for_files=self._policy.invitations_by_users)

    def _take_over(self, user: User, proven: _Proven) -> User:
        """Give an account with an unproven address to the person who has proven it, without anything that another person set up."""
        # Before the account is locked: transitions of files lock the file first.
        closed = Counter(self._open_access.close_all(user.id))
        locked = self._lock_with_address(user, proven)
        if locked.is_superuser or not (locked.is_active or locked.deletion_is_own):
            raise NoAccountError
        # What was committed between the two. Requests that come later see that their credentials have ended (`current_user`).
        closed.update(self._open_access.close_all(user.id))
        if not locked.had_verified_email:
            # Otherwise the address may be mistyped, and the factor still protects the account.
            self._factors.clear(user.id, action="second_factor.reset")
        removed = self._identities.remove_all(user.id)
        self._named_access.activate(user.id, email=user.email)
        details = {"by": "provider", "closed": dict(closed), "identities": removed}
        changes = {
            "hashed_password": None,
            "email_verified_at": clock.now(),
            "is_active": True,
            "deletion_at": None,
            "deletion_is_own": False,
        }
        return self._users.update(user.id, changes, action="user.taken_over", details=details, ends_sessions=True)

    def _lock_with_address(self, user: User, proven: _Proven) -> User:
        """Lock the account that was found by its address. Raises BadAssertionError if it has changed since."""
        # `lock` changes `user`, so the values from before are passed separately.
        locked = self._users.lock(user.id)
        if _Proven(locked.email, locked.token_epoch, is_confirmed=locked.email_verified) != proven:
            raise BadAssertionError
        return locked

    def _link(self, assertion: Assertion, user: User, *, by: str) -> UserIdentity:
        subject, now = _subject_of(assertion), clock.now()
        identity = UserIdentity(
            id=uuid4(),
            user_id=user.id,
            provider=subject.provider,
            issuer=subject.issuer,
            subject=subject.subject,
            email=assertion.identity.email,
            created_at=now,
            last_used_at=now,
        )
        self._identities.add(identity, by=by)
        return identity


def _subject_of(assertion: Assertion) -> Subject:
    return Subject(assertion.provider, assertion.issuer, assertion.identity.subject)


def _proven_address(identity: Identity, provider: IdentityProvider) -> str | None:
    """Return the address if the provider has verified it and is trusted for it; otherwise None."""
    if not provider.trusted_email or not identity.email_verified or identity.email is None:
        return None
    try:
        email = normalise_email(identity.email)
    except ValueError:
        return None
    return email if provider.allows(email) else None


def _linked_mail(user: User, provider: IdentityProvider) -> Mail:
    return Mail(to=user.email, subject="A sign-in provider was linked to your account", text=_LINKED_MAIL.format(provider=provider.name))
