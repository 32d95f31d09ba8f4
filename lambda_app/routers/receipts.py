"""Routes of receipts, and the public keys that verify them."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from fastapi.responses import PlainTextResponse

from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import FilesDep, ReceiptsDep, SharesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.receipts import Receipt
from lambda_app.schemas.text import ONLY_DIGITS

router = Router()
key_router = Router(prefix="/.well-known/we-upload", tags=["receipts"])

RECEIPTS_MAX = 20
"""Receipts in one response: each takes several queries."""

ReceiptLimitQuery = Annotated[int, Query(ge=1, le=RECEIPTS_MAX, description=f"Number of downloads, at most {RECEIPTS_MAX}."), ONLY_DIGITS]


@router.get(
    "/files/{file_id}/receipt",
    response_model=Receipt,
    response_model_exclude_none=True,
    tags=["receipts"],
    responses=problem_responses("file_forbidden", "file_not_found", "receipt_not_found", "receipt_not_ready"),
)
def get_file_receipt(file_id: UUID, user: CurrentUserDep, files: FilesDep, receipts: ReceiptsDep) -> Receipt:
    """Return the receipt of an available file: name, size, checksum and time, signed by the log of this server.

    409 `receipt_not_ready` with `Retry-After` until the event is sealed, which takes about a minute. Verify the receipt offline with the
    keys at `/.well-known/we-upload/log-key`. Only for users who may manage the file.
    """
    return receipts.for_file(files.get_managed_file(user, file_id))


@router.get(
    "/shares/{share_id}/receipts",
    response_model=list[Receipt],
    response_model_exclude_none=True,
    tags=["receipts"],
    responses=problem_responses("share_not_found"),
)
def list_download_receipts(
    share_id: UUID, user: CurrentUserDep, shares: SharesDep, receipts: ReceiptsDep, limit: ReceiptLimitQuery = RECEIPTS_MAX
) -> list[Receipt]:
    """Return the receipts of the newest sealed downloads through a link. Only for users who may manage the link."""
    shares.get(user, share_id)
    return receipts.for_downloads(share_id, limit=limit)


@key_router.get("/log-key", response_class=PlainTextResponse)
def get_log_keys(receipts: ReceiptsDep) -> PlainTextResponse:
    """Return the public keys of the audit log, one per line in the format of C2SP signed-note, the newest first."""
    return PlainTextResponse(receipts.public_keys(), headers={"Cache-Control": "public, max-age=300"})
