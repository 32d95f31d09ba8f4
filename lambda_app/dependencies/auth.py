"""Who is calling."""

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import OAuthFlowPassword, OAuthFlows
from fastapi.security import OAuth2
from starlette.requests import HTTPConnection

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.dependencies.services import AccountsDep
from lambda_app.models import User


class BearerToken(OAuth2):
    """The token of an `Authorization: Bearer` header, or None when there is no such header at all.

    FastAPI's own OAuth2PasswordBearer takes a header of another scheme for no header, and would then serve a caller
    with broken credentials as an anonymous one.
    """

    def __init__(self) -> None:
        super().__init__(
            scheme_name="OAuth2Password", flows=OAuthFlows(password=OAuthFlowPassword(tokenUrl="login/token")), auto_error=False
        )

    async def __call__(self, request: HTTPConnection) -> str | None:
        """Read the header. Raises NotAuthenticatedError when it is there and is not one bearer token."""
        values = request.headers.getlist("authorization")
        if not values:
            return None
        scheme, _, token = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer" or not token:
            raise NotAuthenticatedError("Not authenticated")
        return token


TokenDep = Annotated[str | None, Depends(BearerToken())]


def get_caller(token: TokenDep, accounts: AccountsDep) -> User | None:
    """Return the signed-in user, or None for an anonymous caller. Raises NotAuthenticatedError for a token that does not hold."""
    return None if token is None else accounts.authenticate(token)


CallerDep = Annotated[User | None, Depends(get_caller, scope="function")]


async def get_current_user(caller: CallerDep) -> User:
    """Return the signed-in user. Raises NotAuthenticatedError."""
    if caller is None:
        raise NotAuthenticatedError("Not authenticated")
    return caller


CurrentUserDep = Annotated[User, Depends(get_current_user, scope="function")]
