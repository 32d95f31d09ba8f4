"""Routes of user accounts and their storage usage."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from lambda_app import models
from lambda_app.core.errors import MalformedRequestError
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.callers import RequiredCredentialDep, run_steps, services_of
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import RecoveryDep, SessionsDep, UsageDep, UsersDep
from lambda_app.models.accounts.users import EMAIL_MAX_LENGTH
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, SkipQuery, set_page_headers
from lambda_app.routers.http.problems import JSON_MEDIA_TYPE, problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.users import User, UserCreate, UserFilter, UserSelfUpdate, UserUpdate
from lambda_app.schemas.files.usage import Usage
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.text import ONE_LINE

SearchQuery = Annotated[
    str | None,
    Query(min_length=1, max_length=EMAIL_MAX_LENGTH, description="Only accounts whose e-mail address contains this text."),
    ONE_LINE,
]
ActiveQuery = Annotated[bool | None, Query(description="Only active accounts (true) or only disabled ones (false).")]

_SELF_UPDATE_ERRORS = (
    "permission_denied",
    "current_password_required",
    "fresh_sign_in_required",
    "password_sign_in_closed",
    "second_factor_required",
    "bad_second_factor",
    "email_taken",
    "weak_password",
    "too_many_attempts",
)
_UPDATE_ERRORS = (*_SELF_UPDATE_ERRORS, "user_not_found", "own_role", "deletion_pending")

router = Router(prefix="/users", tags=["users"])


@router.post(
    "/",
    status_code=201,
    response_model=User,
    responses=problem_responses("registration_closed", "password_sign_in_closed", "email_taken", "weak_password", "too_many_registrations"),
)
def create_user(
    registration: UserCreate,
    outgoing: OutgoingMailDep,
    caller: CallerDep,
    users: UsersDep,
    recovery: RecoveryDep,
) -> models.User:
    """Create an account. While registration is open, no credentials are needed; otherwise only superusers can do this.

    Where mail can be sent, the address receives a link to confirm it. Until then, files that are shared with the address stay closed.
    """
    user = users.register(registration, registrar=caller)
    outgoing.add(recovery.build_registration_mail(user))
    return user


@router.get("/", response_model=list[User], responses=problem_responses("permission_denied", "skip_with_cursor"))
def list_users(  # noqa: PLR0913, PLR0917 - a parameter for each filter
    request: Request,
    response: Response,
    user: CurrentUserDep,
    users: UsersDep,
    skip: SkipQuery = 0,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    search: SearchQuery = None,
    is_active: ActiveQuery = None,
) -> list[models.User]:
    """List accounts in order of registration. Superusers only. `X-Next-Cursor` and `Link` lead to the next page."""
    if cursor is not None and skip:
        raise MalformedRequestError("skip and cursor cannot be combined; send one of them", code="skip_with_cursor")
    after = None if cursor is None else Cursor.decode(cursor)
    page = users.page_users(user, UserFilter(search=search, is_active=is_active), skip=skip, limit=limit, after=after)
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.users


@router.get("/me", response_model=User, responses=problem_responses())
async def get_me(credential: RequiredCredentialDep, request: Request) -> Response:
    """Return the caller's account."""
    account = await run_steps(request, credential, services_of(request).callers().get_account(credential))
    return Response(account, media_type=JSON_MEDIA_TYPE)


@router.get("/me/usage", response_model=Usage, responses=problem_responses("user_not_found"))
def get_my_usage(user: CurrentUserDep, usage: UsageDep) -> Usage:
    """Return the storage that the caller uses, and the caller's quota."""
    return usage.get_usage(user, user.id)


@router.get("/{user_id}/usage", response_model=Usage, responses=problem_responses("permission_denied", "user_not_found"))
def get_user_usage(user_id: UUID, user: CurrentUserDep, usage: UsageDep) -> Usage:
    """Return the storage that an account uses, and its quota. Users can read their own; superusers can read any."""
    return usage.get_usage(user, user_id)


@router.patch(
    "/me",
    response_model=User,
    responses=problem_responses(*_SELF_UPDATE_ERRORS),
)
@router.put(
    "/me",
    operation_id="updateMeWithPut",
    response_model=User,
    responses=problem_responses(*_SELF_UPDATE_ERRORS),
)
def update_me(
    update: UserSelfUpdate, outgoing: OutgoingMailDep, user: CurrentUserDep, users: UsersDep, recovery: RecoveryDep
) -> models.User:
    """Change the caller's e-mail address or password. `current_password` is required for both.

    After a change of the address, the new address receives a mail with a link to confirm it.
    """
    change = users.update_user(user, user.id, update)
    outgoing.add(*recovery.build_email_change_mails(change))
    return change.user


@router.get("/{user_id}", response_model=User, responses=problem_responses("permission_denied", "user_not_found"))
def get_user(user_id: UUID, user: CurrentUserDep, users: UsersDep) -> models.User:
    """Return an account. Users can read their own; superusers can read any."""
    return users.get_user(user, user_id)


@router.patch(
    "/{user_id}",
    response_model=User,
    responses=problem_responses(*_UPDATE_ERRORS),
)
@router.put(
    "/{user_id}",
    operation_id="updateUserWithPut",
    response_model=User,
    responses=problem_responses(*_UPDATE_ERRORS),
)
def update_user(
    user_id: UUID, update: UserUpdate, outgoing: OutgoingMailDep, user: CurrentUserDep, users: UsersDep, recovery: RecoveryDep
) -> models.User:
    """Change an account. Users can change their own; superusers can change any.

    Only superusers can change roles, quotas and `email_verified`. A new e-mail address, password or role needs the caller's own password
    in `current_password`, also for another account.
    """
    change = users.update_user(user, user_id, update)
    outgoing.add(*recovery.build_email_change_mails(change))
    return change.user


@router.delete("/{user_id}/sessions", status_code=204, responses=problem_responses("permission_denied", "user_not_found"))
def revoke_user_sessions(user_id: UUID, user: CurrentUserDep, sessions: SessionsDep) -> None:
    """End all sessions of a user and revoke all access tokens and API keys. Superusers only."""
    sessions.revoke_all(user, user_id)


# The collection is also served without the trailing slash: a redirect would have to be built from the Host header.
router.add_api_route("", create_user, methods=["POST"], status_code=201, response_model=User, include_in_schema=False)
router.add_api_route("", list_users, methods=["GET"], response_model=list[User], include_in_schema=False)
