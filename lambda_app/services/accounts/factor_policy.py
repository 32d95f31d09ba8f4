"""The rule whose accounts must have a second factor, and the error for a session that has to set one up first."""

from dataclasses import dataclass

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.core.settings import FactorRequirement
from lambda_app.models import User


class EnrolmentRequiredError(PermissionDeniedError):
    """The account must have a second factor and has none. The session can only set it up."""

    code = "second_factor_enrolment_required"
    message = "This account needs a second factor: set it up, then refresh the session"


@dataclass(frozen=True, slots=True)
class FactorPolicy:
    """Decides by the setting of the deployment and by the account."""

    requirement: FactorRequirement

    def requires_factor(self, user: User) -> bool:
        """Whether the account must have a second factor."""
        by_setting = self.requirement is FactorRequirement.ALL or (self.requirement is FactorRequirement.SUPERUSERS and user.is_superuser)
        return by_setting or user.requires_second_factor

    def must_enrol(self, user: User) -> bool:
        """Whether the account must have a second factor and has none."""
        return not user.has_second_factor and self.requires_factor(user)
