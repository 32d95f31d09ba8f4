"""Accounts."""

from typing import Annotated
from uuid import UUID

from fastapi import Query

from lambda_app import models
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import RecoveryDep, ServicesDep, SessionsDep, UsageDep, UsersDep
from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.routers.http.paging import LimitQuery, SkipQuery
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.users import User, UserCreate, UserSelfUpdate, UserUpdate
from lambda_app.schemas.files.usage import Usage
from lambda_app.schemas.text import ONE_LINE

SearchQuery = Annotated[str | None, Query(min_length=1, max_length=EMAIL_MAX_LENGTH, description="A part of the address."), ONE_LINE]

router = Router(prefix="/users", tags=["users"])


@router.post("/", status_code=201, response_model=User, responses=problem_responses(401, 403, 409))
def create_user(
    registration: UserCreate,
    outgoing: OutgoingMailDep,
    caller: CallerDep,
    accounts: UsersDep,
    recovery: RecoveryDep,
    services: ServicesDep,
) -> models.User:
    """Create an account. Open to anyone while registration is open, else to superusers."""
    user = accounts.register(registration, registrar=caller)
    if services.settings.require_verified_email:
        outgoing.add(recovery.confirm_registration(user))
    return user


@router.get("/", response_model=list[User], responses=problem_responses(401, 403))
def list_users(
    user: CurrentUserDep,
    accounts: UsersDep,
    skip: SkipQuery = 0,
    limit: LimitQuery = 100,
    search: SearchQuery = None,
    is_active: bool | None = None,
) -> list[models.User]:
    """List accounts in order of registration, or those whose address contains `search`. Superusers only."""
    return accounts.list_users(user, skip=skip, limit=limit, search=search, is_active=is_active)


@router.get("/me", response_model=User, responses=problem_responses(401))
async def read_me(user: CurrentUserDep) -> models.User:
    """Return the caller's own account."""
    return user


@router.get("/me/usage", response_model=Usage, responses=problem_responses(401))
def read_my_usage(user: CurrentUserDep, usage: UsageDep) -> Usage:
    """Return how much the caller keeps, and may keep."""
    return usage.get_usage(user, user.id)


@router.get("/{user_id}/usage", response_model=Usage, responses=problem_responses(401, 403, 404))
def read_usage(user_id: UUID, user: CurrentUserDep, usage: UsageDep) -> Usage:
    """Return how much an account keeps: one's own, or any for a superuser."""
    return usage.get_usage(user, user_id)


@router.put("/me", response_model=User, responses=problem_responses(401, 403, 409))
def update_me(
    update: UserSelfUpdate, outgoing: OutgoingMailDep, user: CurrentUserDep, accounts: UsersDep, recovery: RecoveryDep
) -> models.User:
    """Change one's own e-mail or password; `current_password` must come with either. A new address is asked by mail to confirm it."""
    change = accounts.update_user(user, user.id, update)
    outgoing.add(*recovery.confirm_change(change))
    return change.user


@router.get("/{user_id}", response_model=User, responses=problem_responses(401, 403, 404))
def read_user(user_id: UUID, user: CurrentUserDep, accounts: UsersDep) -> models.User:
    """Return an account: one's own, or any for a superuser."""
    return accounts.get_user(user, user_id)


@router.put("/{user_id}", response_model=User, responses=problem_responses(401, 403, 404, 409))
def update_user(
    user_id: UUID, update: UserUpdate, outgoing: OutgoingMailDep, user: CurrentUserDep, accounts: UsersDep, recovery: RecoveryDep
) -> models.User:
    """Change an account: one's own, or any for a superuser; only superusers change roles."""
    change = accounts.update_user(user, user_id, update)
    outgoing.add(*recovery.confirm_change(change))
    return change.user


@router.delete("/{user_id}/sessions", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_user_sessions(user_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End every session, access token and API key of a user. Superusers only."""
    sessions.revoke_all(user, user_id)


# The collection also answers without its slash; a redirect there would need the Host header.
router.add_api_route("", create_user, methods=["POST"], status_code=201, response_model=User, include_in_schema=False)
router.add_api_route("", list_users, methods=["GET"], response_model=list[User], include_in_schema=False)
