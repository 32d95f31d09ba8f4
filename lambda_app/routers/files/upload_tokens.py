"""Routes of the caller's own upload tokens."""

from uuid import UUID

from fastapi import Response

from lambda_app import models
from lambda_app.dependencies.auth import CurrentUserDep
from lambda_app.dependencies.services import UploadTokensDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.public_url import PublicUrlDep
from lambda_app.schemas.files.upload_tokens import NewUploadToken, UploadToken, UploadTokenCreate

router = Router(prefix="/upload-tokens", tags=["upload tokens"])


@router.post("", status_code=201, response_model=NewUploadToken, responses=problem_responses("too_many_upload_tokens"))
def create_upload_token(
    parameters: UploadTokenCreate, user: CurrentUserDep, tokens: UploadTokensDep, public_url: PublicUrlDep, response: Response
) -> NewUploadToken:
    """Create a token with which a page uploads files for the caller, with stock Uppy and without other credentials.

    It is valid for hours, counts what is uploaded with it, and reads no files. A page that has the `companion_endpoint` can upload until
    the token expires or is revoked.
    """
    created = tokens.create(user, parameters)
    response.headers["Cache-Control"] = "no-store"
    listed = UploadToken.model_validate(created.row).model_dump()
    return NewUploadToken(**listed, token=created.token, companion_endpoint=f"{public_url}/uppy/{created.token}")


@router.get("", response_model=list[UploadToken], responses=problem_responses())
def list_upload_tokens(user: CurrentUserDep, tokens: UploadTokensDep) -> list[models.UploadToken]:
    """List the caller's valid upload tokens, newest first. The tokens themselves are not returned."""
    return tokens.list_tokens(user)


@router.delete("/{upload_token_id}", status_code=204, responses=problem_responses("upload_token_not_found"))
def revoke_upload_token(upload_token_id: UUID, user: CurrentUserDep, tokens: UploadTokensDep) -> None:
    """Revoke an upload token. It is refused from the next request on; uploads in progress expire."""
    tokens.revoke(user, upload_token_id)
