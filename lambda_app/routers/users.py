"""Accounts."""

from uuid import UUID

from fastapi import APIRouter

from lambda_app import models
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.services import AccountsDep
from lambda_app.routers.paging import LimitQuery, SkipQuery
from lambda_app.routers.problems import problem_responses
from lambda_app.schemas.user import User, UserCreate, UserSelfUpdate, UserUpdate

router = APIRouter(prefix="/users", tags=["users"])


@router.post("/", status_code=201, response_model=User, responses=problem_responses(401, 403, 409))
def create_user(registration: UserCreate, caller: CallerDep, accounts: AccountsDep) -> models.User:
    """Create an account. Open to anyone while registration is open, else to superusers."""
    return accounts.register(registration, registrar=caller)


@router.get("/", response_model=list[User], responses=problem_responses(401, 403))
def list_users(user: CurrentUserDep, accounts: AccountsDep, skip: SkipQuery = 0, limit: LimitQuery = 100) -> list[models.User]:
    """List accounts in order of registration. Superusers only."""
    return accounts.list_users(user, skip=skip, limit=limit)


@router.get("/me", response_model=User, responses=problem_responses(401))
async def read_me(user: CurrentUserDep) -> models.User:
    """Return the caller's own account."""
    return user


@router.put("/me", response_model=User, responses=problem_responses(401, 403, 409))
def update_me(update: UserSelfUpdate, user: CurrentUserDep, accounts: AccountsDep) -> models.User:
    """Change one's own e-mail or password; `current_password` must come with either."""
    return accounts.update_user(user, user.id, update)


@router.get("/{user_id}", response_model=User, responses=problem_responses(401, 403, 404))
def read_user(user_id: UUID, user: CurrentUserDep, accounts: AccountsDep) -> models.User:
    """Return an account: one's own, or any for a superuser."""
    return accounts.get_user(user, user_id)


@router.put("/{user_id}", response_model=User, responses=problem_responses(401, 403, 404, 409))
def update_user(user_id: UUID, update: UserUpdate, user: CurrentUserDep, accounts: AccountsDep) -> models.User:
    """Change an account: one's own, or any for a superuser; only superusers change roles."""
    return accounts.update_user(user, user_id, update)


# The collection also answers without its slash; a redirect there would need the Host header.
router.add_api_route("", create_user, methods=["POST"], status_code=201, response_model=User, include_in_schema=False)
router.add_api_route("", list_users, methods=["GET"], response_model=list[User], include_in_schema=False)
