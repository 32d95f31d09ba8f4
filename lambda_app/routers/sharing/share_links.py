"""Routes for visitors of share links: JSON for programs, a page without scripts for browsers."""

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Header, Request, Response
from fastapi.responses import RedirectResponse

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.dependencies.callers import run_statement, services_of
from lambda_app.dependencies.services import ShareLinksDep
from lambda_app.dependencies.share_links import (
    FORM_TYPE,
    LinkVisitorDep,
    ProviderSignInDep,
    ShareCredentialsDep,
    VisitorDep,
    share_token_cookie,
)
from lambda_app.models import OpenShare, ScanStatus
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.request_classification import is_prefetch, is_range_resume, is_robot, prefers_html, prefers_json
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.share_pages import files_page
from lambda_app.schemas.error_codes import WITHHELD
from lambda_app.schemas.sharing.shares import LinkAddress, LinkDownload, LinkedFile, OpenedShare, UnlockedShare
from lambda_app.storage.object_store import PresignedRequest
from lambda_app.storage.s3 import bucket_url

router = Router(prefix="/s", tags=["share links"])

RangeHeader = Annotated[
    str | None, Header(alias="Range", description="A range that resumes a granted download does not count as another download.")
]

DOWNLOAD_RESPONSES: dict[int | str, dict[str, Any]] = {
    302: {"description": "Found: `Location` is a download URL that is valid for one minute"},
    200: {"description": "For clients with `Accept: application/json`", "model": LinkDownload},
}
"""OpenAPI responses of a download."""

_NO_FILE = UUID(int=0)
_CREDENTIALS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"$ref": "#/components/schemas/ShareCredentials"}} for media_type in ("application/json", FORM_TYPE)
        },
    }
}


class AutomatedRequestError(PermissionDeniedError):
    """A robot, or a browser that prefetches, requested a download."""

    code = "robots_get_no_files"
    message = "Automated requests and prefetches cannot download files; open the link yourself"


@router.get(
    "/{token}",
    response_model=OpenedShare,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **problem_responses("link_not_found", "share_password_required"),
    },
)
def open_share(token: LinkAddress, request: Request, visitor: VisitorDep, links: ShareLinksDep) -> Any:
    """Open a share link and list its files. Browsers (`Accept: text/html`) get a page, other clients JSON.

    - 404: the link does not exist, has expired or was revoked, or is not for this user. The response does not say which.
    - 401: the link is for signed-in users; send an access token.
    - 403 `share_password_required`: exchange the password for a share token with `POST /s/{token}`.
    """
    is_counted = request.method == "GET" and not is_automated(request)
    opened = links.open(token, visitor, is_counted=is_counted)
    share = _opened_share(opened, link_path(request, token))
    if not prefers_html(request.headers.get("accept", "")):
        return share
    # Robots get no content of the files, as they can download none.
    thumbnails = {} if is_automated(request) else {file_id: image.url for file_id, image in links.sign_thumbnails(opened).items()}
    bucket = bucket_url(services_of(request).settings)
    return files_page(request, share, link_path(request, token), thumbnails=thumbnails, bucket_url=bucket)


@router.post(
    "/{token}",
    response_model=UnlockedShare,
    responses=problem_responses(
        "link_not_found",
        "wrong_share_password",
        "too_many_attempts",
        "no_account_needed",
        "bad_assertion",
        "no_account",
        "bad_credentials",
        "password_sign_in_closed",
        "email_not_verified",
        "second_factor_required",
        "bad_second_factor",
        "account_deletion_pending",
        "cross_site_form",
    ),
    openapi_extra=_CREDENTIALS_BODY,
)
def unlock_share(
    token: LinkAddress,
    request: Request,
    submitted: ShareCredentialsDep,
    visitor: VisitorDep,
    provider_sign_in: ProviderSignInDep,
    links: ShareLinksDep,
) -> Any:
    """Exchange the link's password for a share token. Send it as `X-Share-Pass`; it is valid for one hour.

    The form of the page gets a cookie instead. For a link that is for signed-in users, the form sends `email` and `account_password`, or
    `sign_in` after a sign-in at a provider; other clients send an access token.
    """
    share_token = links.unlock(token, submitted.credentials, visitor, provider_sign_in.value)
    if not submitted.is_form:
        return UnlockedShare(share_pass=share_token.value, expires_at=share_token.expires_at)
    path = link_path(request, token)
    response = RedirectResponse(path, status_code=303)
    response.set_cookie(
        share_token_cookie(request),
        share_token.value,
        expires=share_token.expires_at,
        path=path,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    provider_sign_in.clear(response)
    return response


@router.get(
    "/{token}/files/{file_id}",
    status_code=302,
    response_class=RedirectResponse,
    responses={
        **DOWNLOAD_RESPONSES,
        **problem_responses(
            "link_not_found", "share_password_required", "share_listing_only", "robots_get_no_files", *WITHHELD, "store_unavailable"
        ),
    },
)
async def download_shared_file(
    token: LinkAddress,
    file_id: str,
    request: Request,
    visitor: LinkVisitorDep,
    range_: RangeHeader = None,
) -> Any:
    """Redirect to the content of a file, or return its URL to clients with `Accept: application/json`.

    This counts as one download of the link. Requests of the same visitor in the next 60 seconds do not count again. HEAD does not
    count, and redirects to a URL that accepts only HEAD.
    """
    if is_automated(request):
        raise AutomatedRequestError
    downloads = services_of(request).link_downloads()
    if request.method == "HEAD":
        signed = await run_statement(downloads.sign_head, token, _file_id(file_id), *visitor)
    else:
        is_resumption = is_range_resume(range_)
        signed = await run_statement(downloads.start_download, token, _file_id(file_id), *visitor, is_resumption=is_resumption)
    return download_response(request, signed)


def download_response(request: Request, signed: PresignedRequest) -> Response:
    """Return the redirect to a download, or its URL as JSON: a script cannot read the target of a redirect."""
    if request.method == "GET" and prefers_json(request.headers.get("accept", "")):
        found = LinkDownload(download_url=signed.url, expires_at=signed.expires_at)
        return Response(found.model_dump_json(), media_type="application/json")
    return RedirectResponse(signed.url, status_code=302)


def link_path(request: Request, token: str) -> str:
    """Return the path of the link, with the gateway's stage."""
    return quote(f"{request.scope.get('root_path', '')}/s/{token}")


def is_automated(request: Request) -> bool:
    """Whether a robot or a prefetching browser sent the request, not a person."""
    return is_robot(request.headers.get("user-agent", "")) or is_prefetch(request.headers)


def _file_id(text: str) -> UUID:
    # A malformed id must be indistinguishable from the id of a missing file.
    try:
        return UUID(text)
    except ValueError:
        return _NO_FILE


def _opened_share(opened: OpenShare, path: str) -> OpenedShare:
    share = opened.share
    return OpenedShare(
        files=[
            LinkedFile(
                id=file.id,
                filename=file.filename,
                content_type=file.content_type,
                size_bytes=file.size_bytes,
                scan_status=ScanStatus(file.scan_status),
                is_withheld=file.is_withheld,
                download_url=f"{path}/files/{file.id}" if share.allows_download and not file.is_withheld else None,
            )
            for file in opened.files
        ],
        sender_name=opened.sender_name,
        title=share.title,
        note=share.note,
        expires_at=share.expires_at,
        downloads_left=None if share.max_downloads is None else max(0, share.max_downloads - share.download_count),
        allows_download=share.allows_download,
    )


for _path, _endpoint in (("/{token}", open_share), ("/{token}/files/{file_id}", download_shared_file)):
    router.add_api_route(_path, _endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)
