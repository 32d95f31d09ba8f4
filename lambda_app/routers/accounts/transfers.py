"""Routes of ownership transfers."""

from uuid import UUID

from fastapi import Request, Response

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import ServicesDep, TransfersDep
from lambda_app.models import TransferStatus
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.accounts.transfers import Transfer, TransferCreate
from lambda_app.schemas.page import Cursor
from lambda_app.services.accounts.transfers import OfferedTransfer

router = Router(tags=["transfers"])


@router.post(
    "/users/{user_id}/transfer",
    status_code=201,
    response_model=Transfer,
    responses=problem_responses(
        "permission_denied",
        "current_password_required",
        "fresh_sign_in_required",
        "second_factor_required",
        "bad_second_factor",
        "user_not_found",
        "transfer_to_self",
        "transfer_open",
        "too_many_attempts",
    ),
)
def offer_transfer(
    user_id: UUID,
    parameters: TransferCreate,
    outgoing: OutgoingMailDep,
    user: CurrentUserDep,
    transfers: TransfersDep,
    services: ServicesDep,
) -> Transfer:
    """Offer all files, links and file requests of an account to another account, which has to accept within seven days.

    Users hand over their own files, superusers those of any account. Needs the caller's own password.
    """
    offered, mails = transfers.offer(
        user, user_id, recipient=parameters.email, current_password=parameters.current_password, otp=parameters.otp
    )
    if services.settings.can_send_mail:
        outgoing.add(*mails)
    return _shown(offered)


@router.get("/transfers", response_model=list[Transfer], responses=problem_responses())
def list_transfers(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    transfers: TransfersDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Transfer]:
    """List the transfers from and to the caller, newest first. `X-Next-Cursor` and `Link` lead to the next page."""
    page = transfers.page(user, limit=limit, after=None if cursor is None else Cursor.decode(cursor))
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [_shown(found) for found in page.transfers]


@router.post(
    "/transfers/{transfer_id}/accept",
    response_model=Transfer,
    responses=problem_responses("transfer_not_found", "transfer_closed", "quota_exceeded"),
)
def accept_transfer(transfer_id: UUID, user: CurrentUserDep, transfers: TransfersDep) -> Transfer:
    """Accept a transfer to the caller. The files must fit into the caller's quota.

    Links and file requests change their owner at once. Many files are moved in the background: `status` is `moving` until all are moved.
    """
    return _shown(transfers.accept(user, transfer_id))


@router.post("/transfers/{transfer_id}/decline", status_code=204, responses=problem_responses("transfer_not_found"))
def decline_transfer(transfer_id: UUID, user: CurrentUserDep, transfers: TransfersDep) -> None:
    """Decline a transfer to the caller."""
    transfers.decline(user, transfer_id)


@router.delete("/transfers/{transfer_id}", status_code=204, responses=problem_responses("transfer_not_found"))
def withdraw_transfer(transfer_id: UUID, user: CurrentUserDep, transfers: TransfersDep) -> None:
    """Withdraw a transfer of the caller's files that was not accepted. Superusers can withdraw any."""
    transfers.withdraw(user, transfer_id)


def _shown(found: OfferedTransfer) -> Transfer:
    row, giver = found.transfer, found.giver
    columns = ("id", "from_id", "from_email", "to_id", "to_email", "status", "moved_files", "moved_bytes", "is_blocked")
    times = ("created_at", "expires_at", "ended_at")
    is_open = row.status in (TransferStatus.REQUESTED, TransferStatus.MOVING)
    return Transfer(
        **{name: getattr(row, name) for name in columns + times},
        # After the end, the storage of one account is no concern of the other.
        left_files=giver.files_count if is_open else None,
        left_bytes=giver.bytes_used if is_open else None,
    )
