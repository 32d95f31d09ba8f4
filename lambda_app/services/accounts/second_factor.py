"""The second factor of an account: one-time codes of an authenticator app, and recovery codes (docs/adr/0035-second-factor.md)."""

from dataclasses import dataclass, field
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import ConflictError, NotAuthenticatedError, NotFoundError, PermissionDeniedError
from lambda_app.core.mail import Mail
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.security.random_tokens import hash_secret
from lambda_app.core.security.totp import (
    DIGITS,
    matching_step,
    new_recovery_codes,
    new_totp_secret,
    normalise_code,
    provisioning_uri,
    qr_code_svg,
)
from lambda_app.models import User
from lambda_app.repositories.accounts.second_factors import SecondFactorRepository
from lambda_app.repositories.accounts.users import UserRepository
from lambda_app.services.accounts.factor_policy import FactorPolicy
from lambda_app.services.accounts.login_throttle import LoginThrottle, PasswordPurpose

_RESET_MAIL = """An administrator has turned off two-factor sign-in of your account. You can turn it on again in the settings.

If you did not ask for this, contact the support of this service at once.
"""


class SecondFactorRequiredError(PermissionDeniedError):
    """The password is correct, but the account also needs a one-time code."""

    code = "second_factor_required"
    message = "Send the code of your authenticator app, or a recovery code, as otp"


class BadSecondFactorError(NotAuthenticatedError):
    """The one-time code is wrong or was used before."""

    code = "bad_second_factor"
    message = "The code is wrong or was used before; wait for the next code of your authenticator app"


class SecondFactorOnError(ConflictError):
    """The account has a second factor already."""

    code = "second_factor_on"
    message = "Two-factor sign-in is already on; turn it off before you set it up again"


class MandatoryFactorError(ConflictError):
    """The account must have a second factor."""

    code = "second_factor_mandatory"
    message = "Your account must have a second factor; you can replace the recovery codes, but not turn it off"


class NoSecondFactorError(ConflictError):
    """The account has no second factor, or its set-up was not started."""

    code = "second_factor_off"
    message = "Two-factor sign-in is not set up for this account"


@dataclass(frozen=True, slots=True)
class FactorSecret:
    """The secret of a second factor that is being set up."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    qr_code: str = field(repr=False)


class SecondFactorVerifier:
    """Verifies one-time codes. Each code is accepted once; wrong ones are counted for the account, from all networks together."""

    def __init__(self, *, factors: SecondFactorRepository, login_throttle: LoginThrottle, cipher: LinkTokenCipher) -> None:
        self._factors = factors
        self._login_throttle = login_throttle
        self._cipher = cipher

    def require(self, user: User, otp: str | None) -> None:
        """Return if the account has no second factor, or if the code is right; the code is then used up.

        Call it only after the password was verified: it reveals whether the account has a second factor.

        Raises SecondFactorRequiredError, BadSecondFactorError, ThrottledError.
        """
        if not user.has_second_factor:
            return
        if otp is None:
            raise SecondFactorRequiredError
        self._login_throttle.count_code(user)
        code = normalise_code(otp)
        is_accepted = self._use_totp(user, code) if len(code) == DIGITS else self._factors.use_recovery_code(user.id, hash_secret(code))
        if not is_accepted:
            self._login_throttle.record_refused_sign_in(user, reason="second_factor")
            raise BadSecondFactorError
        self._login_throttle.reset_code(user)

    def _use_totp(self, user: User, code: str) -> bool:
        secret = self._cipher.decrypt(user.totp_secret, row_id=user.id)
        step = None if secret is None else matching_step(secret, code, clock.now())
        return step is not None and self._factors.use_step(user.id, step)


class SecondFactorService:
    """Sets up, replaces and turns off the second factor of an account."""

    def __init__(
        self,
        *,
        factors: SecondFactorRepository,
        users: UserRepository,
        verifier: SecondFactorVerifier,
        login_throttle: LoginThrottle,
        cipher: LinkTokenCipher,
        policy: FactorPolicy,
        issuer: str,
    ) -> None:
        self._factors = factors
        self._users = users
        self._verifier = verifier
        self._login_throttle = login_throttle
        self._cipher = cipher
        self._policy = policy
        self._issuer = issuer

    def start(self, user: User, *, current_password: str | None) -> FactorSecret:
        """Create the secret of a second factor, which stays off until `confirm`. A secret of an earlier start is replaced.

        Raises CurrentPasswordError, SecondFactorOnError, ThrottledError.
        """
        self._login_throttle.require_password(user, current_password, purpose=PasswordPurpose.CHANGE)
        secret = new_totp_secret()
        self._users.lock_current(user)
        if not self._factors.store_secret(user.id, self._cipher.encrypt(secret, row_id=user.id)):
            raise SecondFactorOnError
        uri = provisioning_uri(secret, account=user.email, issuer=self._issuer)
        return FactorSecret(secret, uri, qr_code_svg(uri))

    def confirm(self, user: User, *, otp: str) -> list[str]:
        """Turn the second factor on with a code of the new secret, and return the recovery codes.

        Raises NoSecondFactorError, SecondFactorOnError, BadSecondFactorError, ThrottledError.
        """
        if user.has_second_factor:
            raise SecondFactorOnError
        secret = self._cipher.decrypt(user.totp_secret, row_id=user.id)
        if user.totp_secret is None or secret is None:
            raise NoSecondFactorError
        self._login_throttle.count_code(user)
        step = matching_step(secret, normalise_code(otp), clock.now())
        if step is None:
            raise BadSecondFactorError
        self._users.lock_current(user)
        if not self._factors.confirm(user.id, encrypted_secret=user.totp_secret, step=step):
            raise SecondFactorOnError
        self._login_throttle.reset_code(user)
        return self._new_recovery_codes(user)

    def renew_recovery_codes(self, user: User, *, current_password: str | None, otp: str) -> list[str]:
        """Replace the recovery codes. Raises CurrentPasswordError, NoSecondFactorError, BadSecondFactorError, ThrottledError."""
        self._require_both(user, current_password, otp)
        return self._new_recovery_codes(user, action="second_factor.recovery_codes_renewed")

    def turn_off(self, user: User, *, current_password: str | None, otp: str) -> None:
        """Turn the second factor off.

        Raises CurrentPasswordError, NoSecondFactorError, BadSecondFactorError, MandatoryFactorError, ThrottledError.
        """
        self._require_both(user, current_password, otp)
        if self._policy.requires_factor(user):
            raise MandatoryFactorError
        if not self._factors.clear(user.id, action="second_factor.disabled"):
            raise NoSecondFactorError

    def reset(self, administrator: User, user_id: UUID, *, current_password: str | None, otp: str | None) -> Mail:
        """Turn the second factor of another account off, and return the mail to its owner. Superusers only.

        Raises PermissionDeniedError, CurrentPasswordError, NotFoundError, NoSecondFactorError, ConflictError, ThrottledError.
        """
        if not administrator.is_superuser:
            raise PermissionDeniedError
        if administrator.id == user_id:
            # With a stolen session and password, the own factor would otherwise be no obstacle.
            raise ConflictError("Turn off your own second factor with its code, or ask another superuser", code="own_second_factor")
        self._login_throttle.require_password(administrator, current_password, purpose=PasswordPurpose.CHANGE)
        self._verifier.require(administrator, otp)
        user = self._users.get(user_id)
        if user is None:
            raise NotFoundError("User not found", code="user_not_found")
        if not self._factors.clear(user.id, action="second_factor.reset"):
            raise NoSecondFactorError
        return Mail(to=user.email, subject="Two-factor sign-in was turned off", text=_RESET_MAIL)

    def _require_both(self, user: User, current_password: str | None, otp: str) -> None:
        if not user.has_second_factor:
            raise NoSecondFactorError
        self._login_throttle.require_password(user, current_password, purpose=PasswordPurpose.CHANGE)
        self._verifier.require(user, otp)
        self._users.lock_current(user)

    def _new_recovery_codes(self, user: User, *, action: str | None = None) -> list[str]:
        codes = new_recovery_codes()
        self._factors.replace_recovery_codes(user.id, [hash_secret(normalise_code(code)) for code in codes], action=action)
        return codes
