"""Authentication of the caller."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.openapi.models import OAuth2, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.dependencies.scopes import is_enrolment, scope_of
from lambda_app.dependencies.services import SessionDep
from lambda_app.factory import Services  # noqa: TC001 - as everywhere
from lambda_app.models import User


class BearerScheme(SecurityBase):
    """The `Authorization: Bearer` header, as a security scheme of the OpenAPI document.

    FastAPI's OAuth2PasswordBearer treats a header with another scheme as absent, so a caller with malformed credentials would be
    served as an anonymous one. A dependency that needs the token is a scheme itself, because FastAPI analyses each dependency on another
    one for each route, and calls it in each request.
    """

    scheme_name = "OAuth2Password"

    def __init__(self) -> None:
        self.model = OAuth2(flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="login/token")))

    def read_token(self, request: HTTPConnection) -> str | None:
        """Return the token, or None when the request has no such header.

        Raises NotAuthenticatedError when the header is present but is not exactly one bearer token.
        """
        values = request.headers.getlist("authorization")
        if not values:
            return None
        scheme, _, token = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer" or not token:
            raise NotAuthenticatedError("Not authenticated")
        return token


class BearerToken(BearerScheme):
    """Returns the token, not checked, or None."""

    async def __call__(self, request: HTTPConnection) -> str | None:
        """Return the token. Raises NotAuthenticatedError when the header is malformed."""
        return self.read_token(request)


class OptionalCaller(BearerScheme):
    """Returns the signed-in user, or None for an anonymous caller."""

    def __call__(self, request: Request, session: SessionDep) -> User | None:
        """Return the user. Raises the errors of `get_caller`."""
        return get_caller(request, self.read_token(request), session)


class RequiredCaller(BearerScheme):
    """Returns the signed-in user."""

    def __call__(self, request: Request, session: SessionDep) -> User:
        """Return the user. Raises NotAuthenticatedError, and the errors of `get_caller`."""
        caller = get_caller(request, self.read_token(request), session)
        if caller is None:
            raise NotAuthenticatedError("Not authenticated")
        return caller


def get_caller(request: Request, token: str | None, session: SessionDep) -> User | None:
    """Return the user of the token, or None without a token.

    Raises NotAuthenticatedError for an invalid token or API key, ScopeMissingError for an API key without the scope of this route,
    EnrolmentRequiredError for a user who must set up a second factor first.
    """
    if token is None:
        return None
    method, route = request.method, request.scope["route"].path
    services: Services = request.app.state.services
    return services.authentication(session).authenticate(token, scope=scope_of(method, route), is_enrolment=is_enrolment(method, route))


TokenDep = Annotated[str | None, Depends(BearerToken())]
CallerDep = Annotated[User | None, Depends(OptionalCaller(), scope="function")]
CurrentUserDep = Annotated[User, Depends(RequiredCaller(), scope="function")]
