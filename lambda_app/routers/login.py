"""Sign-in."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.security import OAuth2PasswordRequestForm

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import AccountsDep
from lambda_app.routers.problems import problem_responses
from lambda_app.schemas.user import Token, User

router = APIRouter(prefix="/login", tags=["login"])


@router.post("/token", response_model=Token, responses=problem_responses(401))
def create_token(form: Annotated[OAuth2PasswordRequestForm, Depends()], accounts: AccountsDep, response: Response) -> Token:
    """Exchange e-mail (as `username`) and password for an access token."""
    token = accounts.sign_in(email=form.username, password=form.password)
    response.headers["Cache-Control"] = "no-store"  # RFC 6749, section 5.1
    return Token(access_token=token.value, expires_in=token.expires_in)


@router.post("/test-token", response_model=User, responses=problem_responses(401))
async def read_token_owner(user: CurrentUserDep) -> models.User:
    """Return the user to whom the access token belongs."""
    return user
