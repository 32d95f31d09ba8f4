"""Authentication of the requests whose own statement authenticates the caller (docs/adr/0030-one-trip-requests.md)."""

from dataclasses import dataclass, field

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.request_context import request_context
from lambda_app.core.security.random_tokens import has_valid_checksum, hash_secret, is_api_key
from lambda_app.core.security.tokens import AccessTokens
from lambda_app.db.compiled import Steps
from lambda_app.repositories.accounts.callers import Caller, CallerRepository, Credential, api_key_credential, session_credential
from lambda_app.schemas.accounts.api_keys import Scope
from lambda_app.services.accounts.authentication import require_scope
from lambda_app.services.accounts.factor_policy import EnrolmentRequiredError


@dataclass(slots=True)
class SubmittedCredential:
    """The access token or API key of a request, and the scope that an API key needs for it; None: no scope."""

    text: str = field(repr=False)
    scope: Scope | None
    is_enrolment: bool = False
    """Whether the request is open to users who must set up a second factor first."""
    is_checked: bool = False
    """Whether the database has decided about it. An error before that must not be answered without a check: see `require_checked`."""

    @property
    def records_use(self) -> bool:
        """Whether `CallerService.accept` may write: the time of the last use of an API key."""
        return is_api_key(self.text)


class CallerService:
    """Reads credentials, and accepts or refuses the caller that a statement returned."""

    def __init__(self, *, callers: CallerRepository, tokens: AccessTokens) -> None:
        self._callers = callers
        self._tokens = tokens

    def read(self, submitted: SubmittedCredential) -> Credential:
        """Return the parameters of the statement that authenticates.

        The token itself shows whether its user must set up a second factor first, so the check precedes the statement, which may write.

        Raises NotAuthenticatedError, EnrolmentRequiredError, UnavailableError.
        """
        if is_api_key(submitted.text):
            if not has_valid_checksum(submitted.text):
                raise NotAuthenticatedError
            return api_key_credential(hash_secret(submitted.text))
        claims = self._tokens.read(submitted.text)
        if claims.must_enrol and not submitted.is_enrolment:
            raise EnrolmentRequiredError
        return session_credential(user_id=claims.user_id, session_id=claims.session_id, token_epoch=claims.token_epoch)

    def accept(self, submitted: SubmittedCredential, credential: Credential, caller: Caller | None) -> Caller:
        """Make the caller the actor of the request, and return it. Raises NotAuthenticatedError, ScopeMissingError."""
        submitted.is_checked = True
        if caller is None:
            raise NotAuthenticatedError
        context = request_context()
        context.actor_id = caller.id
        if caller.key_id is None:
            context.credential = f"session:{credential.parameters['session_id']}"
            return caller
        context.credential, context.scopes = f"api_key:{caller.key_id}", frozenset((caller.scopes or "").split())
        if submitted.scope is not None:
            require_scope(submitted.scope)
        self._callers.record_use(caller)
        return caller

    def get_account(self, submitted: SubmittedCredential) -> Steps[str]:
        """Return the account of the caller as JSON. Raises NotAuthenticatedError, UnavailableError."""
        credential = self.read(submitted)
        caller, account = yield from self._callers.get_account(credential)
        self.accept(submitted, credential, caller)
        return account

    def authenticate(self, submitted: SubmittedCredential) -> Caller:
        """Authenticate with a statement of its own. Raises NotAuthenticatedError, ScopeMissingError, UnavailableError."""
        submitted.is_checked = True
        credential = self.read(submitted)
        return self.accept(submitted, credential, self._callers.get(credential))
