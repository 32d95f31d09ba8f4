"""Routes of invitations by mail."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from lambda_app import models
from lambda_app.dependencies.auth import CallerDep, CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import InvitationsDep
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.invitations import FileInvitationCreate, Invitation, InvitationAcceptance, InvitationCreate
from lambda_app.schemas.accounts.users import User
from lambda_app.schemas.page import Cursor

AllQuery = Annotated[bool, Query(alias="all", description="Invitations of all inviters. Superusers only.")]
FileQuery = Annotated[UUID | None, Query(description="Only invitations to this file.")]

router = Router(tags=["invitations"])


@router.post(
    "/invitations",
    status_code=201,
    response_model=Invitation,
    responses=problem_responses("permission_denied", "email_taken", "too_many_invitation_mails", "mail_not_configured"),
)
def send_invitation(
    parameters: InvitationCreate, outgoing: OutgoingMailDep, user: CurrentUserDep, invitations: InvitationsDep
) -> models.Invitation:
    """Invite an address to create an account, also where registration is closed. Superusers only.

    The mail has a link with which the reader chooses the password. A repeated request sends a new mail.
    """
    sent = invitations.invite(user, parameters.email)
    outgoing.add(sent.mail)
    return sent.invitation


@router.post(
    "/files/{file_id}/invitations",
    status_code=201,
    response_model=Invitation,
    responses=problem_responses(
        "invitations_closed",
        "email_not_verified",
        "file_not_found",
        "file_forbidden",
        "own_file",
        "too_many_invitations",
        "too_many_invitation_mails",
        "mail_not_configured",
    ),
)
def send_file_invitation(
    file_id: UUID, parameters: FileInvitationCreate, outgoing: OutgoingMailDep, user: CurrentUserDep, invitations: InvitationsDep
) -> models.Invitation:
    """Share a file with an address by mail, where the server allows it (`invitations_by_users` of the configuration).

    The address need not have an account, and the response does not tell whether it has one. The grant takes effect when the reader of the
    mail accepts it. A repeated request sends a new mail and changes the role.
    """
    sent = invitations.invite_to_file(user, file_id, parameters)
    outgoing.add(sent.mail)
    return sent.invitation


@router.get("/invitations", response_model=list[Invitation], responses=problem_responses("permission_denied"))
def list_invitations(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    invitations: InvitationsDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
    of_all: AllQuery = False,
    file_id: FileQuery = None,
) -> list[models.Invitation]:
    """List the caller's invitations that were not accepted, newest first. `X-Next-Cursor` and `Link` lead to the next page."""
    after = None if cursor is None else Cursor.decode(cursor)
    page = invitations.page(user, of_all=of_all, file_id=file_id, limit=limit, after=after)
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return page.invitations


@router.post(
    "/invitations/accept",
    response_model=User,
    responses=problem_responses(
        "link_expired", "password_required", "password_sign_in_closed", "sign_in_required", "email_taken", "weak_password"
    ),
)
def accept_invitation(acceptance: InvitationAcceptance, caller: CallerDep, invitations: InvitationsDep) -> models.User:
    """Accept an invitation with the token from the mail, and return the account.

    If the address has no account, send a `password`: it creates one, with a confirmed address. Otherwise send the access token of the
    account (403 `sign_in_required`). All files that the address was invited to are shared with the account.
    """
    return invitations.accept(acceptance.token, caller=caller, password=acceptance.password)


@router.post(
    "/invitations/{invitation_id}/resend",
    response_model=Invitation,
    responses=problem_responses(
        "invitation_not_found",
        "invitations_closed",
        "email_not_verified",
        "file_not_found",
        "file_forbidden",
        "too_many_invitation_mails",
        "mail_not_configured",
    ),
)
def resend_invitation(
    invitation_id: UUID, outgoing: OutgoingMailDep, user: CurrentUserDep, invitations: InvitationsDep
) -> models.Invitation:
    """Send the mail of an invitation again. The link in the earlier mail becomes invalid."""
    sent = invitations.resend(user, invitation_id)
    outgoing.add(sent.mail)
    return sent.invitation


@router.delete("/invitations/{invitation_id}", status_code=204, responses=problem_responses("invitation_not_found"))
def withdraw_invitation(invitation_id: UUID, user: CurrentUserDep, invitations: InvitationsDep) -> None:
    """Withdraw an invitation. Its link becomes invalid. Superusers can withdraw those of all inviters."""
    invitations.withdraw(user, invitation_id)
