"""Routes of share links, for the users who create and manage them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from pydantic import StringConstraints

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.mail import OutgoingMailDep
from lambda_app.dependencies.services import LinkFilesDep, LinkMailDep, SharesDep
from lambda_app.models import LinkSummary
from lambda_app.models.sharing.shares import SHARE_TITLE_MAX_LENGTH
from lambda_app.routers.files.uploads import IdempotencyKeyHeader
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.accounts.sessions import MailRequested
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.shares import LinkFiles, Share, ShareCreate, ShareMail, ShareOptions, ShareUpdate
from lambda_app.schemas.sharing.states import LinkFilter, LinkState
from lambda_app.schemas.text import ONE_LINE
from lambda_app.services.sharing.shares import SharedLink, SharePage

router = Router(tags=["shares"])

LinkStateQuery = Annotated[LinkState | None, Query(description="Only links in this state. By default all links.")]
TitleQuery = Annotated[
    str | None,
    StringConstraints(min_length=1, max_length=SHARE_TITLE_MAX_LENGTH),
    ONE_LINE,
    Query(description="Only links that are not revoked and whose title contains this text. Case is ignored."),
]

_COLUMNS = Share.model_fields.keys() - {"url", "file_ids", "has_password", "recipients", "pending_recipients", *LinkSummary._fields}


async def _link_filter(state: LinkStateQuery = None, title: TitleQuery = None) -> LinkFilter:
    return LinkFilter(state, title)


LinkFilterDep = Annotated[LinkFilter, Depends(_link_filter)]


class _Presenter:
    """Builds the responses that describe share links."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def present(self, link: SharedLink) -> Share:
        """Return a link as the user who manages it sees it."""
        share = link.details.share
        return Share(
            **{column: getattr(share, column) for column in _COLUMNS},
            url=None if link.address is None else f"{self._public_url}/s/{link.address}",
            file_ids=link.details.file_ids,
            **link.details.summary._asdict(),
            has_password=share.hashed_password is not None,
            recipients=link.details.recipients,
            pending_recipients=link.details.pending_recipients,
        )


async def _presenter(public_url: PublicUrlDep) -> _Presenter:
    return _Presenter(public_url)


PresenterDep = Annotated[_Presenter, Depends(_presenter)]


_CREATION_RESPONSES = problem_responses(
    "file_forbidden",
    "file_not_found",
    "file_not_available",
    "slug_taken",
    "too_many_shares",
    "too_many_slugs",
    "recipient_not_found",
    "idempotent_share_gone",
    "expired_already",
    "too_many_attempts",
    "unavailable",
)


@router.post(
    "/files/{file_id}/shares",
    status_code=201,
    response_model=Share,
    responses=_CREATION_RESPONSES,
)
def share_file(
    file_id: UUID,
    options: ShareOptions,
    user: CurrentUserDep,
    shares: SharesDep,
    presenter: PresenterDep,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Share:
    """Create a share link to a file. Only its owner sees its `url`."""
    route = f"POST /files/{file_id}/shares"
    created = shares.create(user, [file_id], options, route=route, idempotency_key=idempotency_key)
    response.headers["Cache-Control"] = "no-store"
    return presenter.present(created)


@router.get("/files/{file_id}/shares", response_model=list[Share], responses=problem_responses("file_forbidden", "file_not_found"))
def list_file_shares(
    file_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUserDep,
    shares: SharesDep,
    presenter: PresenterDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Share]:
    """List the share links to a file, newest first, including those that superusers created."""
    page = shares.page_of_file(user, file_id, limit=limit, after=_decode_cursor(cursor))
    return _present_page(page, request, response, presenter, limit)


@router.delete("/files/{file_id}/shares", status_code=204, responses=problem_responses("file_forbidden", "file_not_found"))
def revoke_file_shares(file_id: UUID, user: CurrentUserDep, shares: SharesDep) -> None:
    """Revoke all share links to a file, including links that contain other files too."""
    shares.revoke_all_of_file(user, file_id)


@router.post(
    "/shares",
    status_code=201,
    response_model=Share,
    responses=_CREATION_RESPONSES,
)
def share_files(
    parameters: ShareCreate,
    user: CurrentUserDep,
    shares: SharesDep,
    presenter: PresenterDep,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Share:
    """Create one share link to several files. Only its owner sees its `url`."""
    created = shares.create(user, parameters.file_ids, parameters, route="POST /shares", idempotency_key=idempotency_key)
    response.headers["Cache-Control"] = "no-store"
    return presenter.present(created)


@router.get("/shares", response_model=list[Share], responses=problem_responses())
def list_shares(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    shares: SharesDep,
    presenter: PresenterDep,
    filters: LinkFilterDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Share]:
    """List the caller's share links, newest first, including revoked ones. `X-Next-Cursor` and `Link` lead to the next page."""
    page = shares.page(user, filters, limit=limit, after=_decode_cursor(cursor))
    return _present_page(page, request, response, presenter, limit)


@router.get("/users/{user_id}/shares", response_model=list[Share], responses=problem_responses("permission_denied"))
def list_user_shares(  # noqa: PLR0913, PLR0917 - the parameters of a page
    user_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUserDep,
    shares: SharesDep,
    presenter: PresenterDep,
    state: LinkStateQuery = None,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Share]:
    """List the share links of a user, newest first, without their addresses. Superusers only; `DELETE /shares/{share_id}` revokes one."""
    page = shares.page_of_user(user, user_id, state=state, limit=limit, after=_decode_cursor(cursor))
    return _present_page(page, request, response, presenter, limit)


@router.get("/shares/{share_id}", response_model=Share, responses=problem_responses("share_not_found"))
def get_share(share_id: UUID, user: CurrentUserDep, shares: SharesDep, presenter: PresenterDep) -> Share:
    """Return the settings of a share link, and how often it was opened and used for downloads."""
    return presenter.present(shares.get(user, share_id))


@router.patch(
    "/shares/{share_id}",
    response_model=Share,
    responses=problem_responses(
        "share_not_found", "share_revoked", "recipient_not_found", "expired_already", "too_many_attempts", "unavailable"
    ),
)
def update_share(share_id: UUID, update: ShareUpdate, user: CurrentUserDep, shares: SharesDep, presenter: PresenterDep) -> Share:
    """Change the settings of a share link. Absent fields stay unchanged; null removes a limit.

    The new settings apply from the next request on.
    """
    return presenter.present(shares.update(user, share_id, update))


@router.post(
    "/shares/{share_id}/rotate",
    response_model=Share,
    responses=problem_responses("share_not_found", "share_revoked", "share_has_slug", "unavailable"),
)
def replace_share_address(share_id: UUID, user: CurrentUserDep, shares: SharesDep, presenter: PresenterDep) -> Share:
    """Give a share link of the caller a new random address. Its rules and counters stay; the old address stops working at once."""
    return presenter.present(shares.replace_address(user, share_id))


@router.post(
    "/shares/{share_id}/files",
    response_model=Share,
    responses=problem_responses(
        "share_not_found", "share_revoked", "file_forbidden", "file_not_found", "file_not_available", "too_many_link_files"
    ),
)
def add_share_files(share_id: UUID, added: LinkFiles, user: CurrentUserDep, link_files: LinkFilesDep, presenter: PresenterDep) -> Share:
    """Add files to a share link of the caller. Its rules and counters stay; visitors see the files from their next request on.

    A repeated request changes nothing. A link opens at most 100 files.
    """
    return presenter.present(link_files.add(user, share_id, added.file_ids))


@router.delete(
    "/shares/{share_id}/files/{file_id}",
    status_code=204,
    responses=problem_responses("share_not_found", "share_revoked", "file_not_found"),
)
def remove_share_file(share_id: UUID, file_id: UUID, user: CurrentUserDep, link_files: LinkFilesDep) -> None:
    """Remove a file from a share link: visitors cannot open it from their next request on. The file itself is not changed."""
    link_files.remove(user, share_id, file_id)


@router.post(
    "/shares/{share_id}/mail",
    status_code=202,
    response_model=MailRequested,
    responses=problem_responses(
        "share_not_found",
        "share_revoked",
        "share_expired",
        "share_address_unknown",
        "sender_not_verified",
        "too_many_mails",
        "mail_not_configured",
    ),
)
def mail_share(
    share_id: UUID, parameters: ShareMail, outgoing: OutgoingMailDep, user: CurrentUserDep, link_mail: LinkMailDep
) -> MailRequested:
    """Mail the address of a share link of the caller to up to 20 people. The mail names the caller's address, and never has the password.

    The response is the same for all addresses. An address that has received the maximum of such mails gets none.
    """
    outgoing.add(*link_mail.build(user, share_id, parameters))
    return MailRequested(detail="The recipients receive a mail, unless they have received too many in the last half hour")


@router.delete("/shares/{share_id}", status_code=204, responses=problem_responses("share_not_found"))
def revoke_share(share_id: UUID, user: CurrentUserDep, shares: SharesDep) -> None:
    """Revoke a share link permanently, and delete its zips. Idempotent."""
    shares.revoke(user, share_id)


def _decode_cursor(text: str | None) -> Cursor | None:
    return None if text is None else Cursor.decode(text)


def _present_page(page: SharePage, request: Request, response: Response, presenter: _Presenter, limit: int) -> list[Share]:
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [presenter.present(link) for link in page.shares]
