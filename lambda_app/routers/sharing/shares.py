"""Share links, for those whose files they open."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request, Response

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import SharesDep
from lambda_app.repositories.sharing.shares import ShareDetails
from lambda_app.routers.files.uploads import IdempotencyKeyHeader
from lambda_app.routers.http.paging import CursorQuery, LimitQuery, set_page_headers
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.page import Cursor
from lambda_app.schemas.sharing.shares import Share, ShareCreate, ShareOptions, ShareUpdate
from lambda_app.services.sharing.shares import SharePage

router = Router(tags=["shares"])

_COLUMNS = Share.model_fields.keys() - {"url", "file_ids", "has_password", "recipients"}


class _Addresses:
    """Writes links as they are given out."""

    def __init__(self, base: PublicUrlDep) -> None:
        self._base = base

    def show(self, kept: ShareDetails, address: str | None = None) -> Share:
        """Return the link as its owner sees it. Only whoever makes it has the token; a slug is no secret."""
        share = kept.share
        end = address or share.slug
        return Share(
            **{name: getattr(share, name) for name in _COLUMNS},
            url=None if end is None else f"{self._base}/s/{end}",
            file_ids=kept.file_ids,
            has_password=share.hashed_password is not None,
            recipients=kept.recipients,
        )


AddressesDep = Annotated[_Addresses, Depends(_Addresses)]


@router.post("/files/{file_id}/shares", status_code=201, response_model=Share, responses=problem_responses(401, 403, 404, 409, 410, 429))
def share_file(
    file_id: UUID,
    options: ShareOptions,
    user: CurrentUserDep,
    shares: SharesDep,
    addresses: AddressesDep,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Share:
    """Make a link to a file. Its `url` is shown this once, unless it has a slug."""
    route = f"POST /files/{file_id}/shares"
    made = shares.create(user, [file_id], options, route=route, idempotency_key=idempotency_key)
    response.headers["Cache-Control"] = "no-store"
    return addresses.show(made.kept, made.address)


@router.get("/files/{file_id}/shares", response_model=list[Share], responses=problem_responses(401, 403, 404))
def list_file_shares(
    file_id: UUID,
    request: Request,
    response: Response,
    user: CurrentUserDep,
    shares: SharesDep,
    addresses: AddressesDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Share]:
    """List the links to a file, whoever made them, newest first."""
    page = shares.page_of_file(user, file_id, limit=limit, after=_cursor(cursor))
    return _shown(page, request, response, addresses, limit)


@router.delete("/files/{file_id}/shares", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_file_shares(file_id: UUID, user: CurrentUserDep, shares: SharesDep) -> None:
    """Revoke every link to a file, also those that open other files too."""
    shares.revoke_all_of_file(user, file_id)


@router.post("/shares", status_code=201, response_model=Share, responses=problem_responses(401, 403, 404, 409, 410, 429))
def share_files(
    wanted: ShareCreate,
    user: CurrentUserDep,
    shares: SharesDep,
    addresses: AddressesDep,
    response: Response,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Share:
    """Make one link to several files. Its `url` is shown this once, unless it has a slug."""
    made = shares.create(user, wanted.file_ids, wanted, route="POST /shares", idempotency_key=idempotency_key)
    response.headers["Cache-Control"] = "no-store"
    return addresses.show(made.kept, made.address)


@router.get("/shares", response_model=list[Share], responses=problem_responses(401, 403))
def list_shares(
    request: Request,
    response: Response,
    user: CurrentUserDep,
    shares: SharesDep,
    addresses: AddressesDep,
    limit: LimitQuery = 100,
    cursor: CursorQuery = None,
) -> list[Share]:
    """List one's links, revoked ones too, newest first; `X-Next-Cursor` and `Link` lead to the next page."""
    return _shown(shares.page(user, limit=limit, after=_cursor(cursor)), request, response, addresses, limit)


@router.get("/shares/{share_id}", response_model=Share, responses=problem_responses(401, 403, 404))
def read_share(share_id: UUID, user: CurrentUserDep, shares: SharesDep, addresses: AddressesDep) -> Share:
    """Return a link's rules, and how often it was used."""
    return addresses.show(shares.get(user, share_id))


@router.patch("/shares/{share_id}", response_model=Share, responses=problem_responses(401, 403, 404, 409, 429))
def update_share(share_id: UUID, update: ShareUpdate, user: CurrentUserDep, shares: SharesDep, addresses: AddressesDep) -> Share:
    """Change a link's rules from the next request on; an absent field stays as it is, null takes a limit away."""
    return addresses.show(shares.update(user, share_id, update))


@router.delete("/shares/{share_id}", status_code=204, responses=problem_responses(401, 403, 404))
def revoke_share(share_id: UUID, user: CurrentUserDep, shares: SharesDep) -> None:
    """End a link for good, and the zips that were asked for at it. Safe to repeat."""
    shares.revoke(user, share_id)


def _cursor(text: str | None) -> Cursor | None:
    return None if text is None else Cursor.decode(text)


def _shown(page: SharePage, request: Request, response: Response, addresses: _Addresses, limit: int) -> list[Share]:
    set_page_headers(request, response, limit=limit, next_cursor=page.next_cursor)
    return [addresses.show(kept) for kept in page.shares]
