"""Opening share links: JSON for programs, and a page without scripts for browsers."""

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Header, Request
from fastapi.responses import RedirectResponse

from lambda_app.core.errors import PermissionDeniedError
from lambda_app.dependencies.services import ShareLinksDep
from lambda_app.dependencies.share_links import FORM_TYPE, ProofDep, VisitorDep, pass_cookie
from lambda_app.repositories.sharing.share_links import Opened
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.request_classification import is_prefetch, is_range_resume, is_robot, prefers_html
from lambda_app.routers.http.router import Router
from lambda_app.routers.sharing.share_pages import files_page
from lambda_app.schemas.sharing.shares import LinkedFile, OpenedShare, ShareCredentials, UnlockedShare

router = Router(prefix="/s", tags=["share links"])

PassHeader = Annotated[
    str | None, Header(alias="X-Share-Pass", description="What `POST /s/{token}` returned, where the link has a password.")
]
RangeHeader = Annotated[str | None, Header(alias="Range", description="The rest of a download that was granted is not counted again.")]

_NO_FILE = UUID(int=0)
_PROOF_BODY = {
    "requestBody": {
        "required": True,
        "content": {media_type: {"schema": ShareCredentials.model_json_schema()} for media_type in ("application/json", FORM_TYPE)},
    }
}


class AutomatedRequestError(PermissionDeniedError):
    """A robot, or a browser that fetches ahead, asks for bytes."""

    code = "robots_get_no_files"
    message = "Files are given to whoever asks for them, not to robots and not in advance"


@router.get(
    "/{token}",
    response_model=OpenedShare,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problem_responses(401, 403, 404)},
)
def open_link(token: str, request: Request, visitor: VisitorDep, links: ShareLinksDep, share_pass: PassHeader = None) -> Any:  # noqa: ARG001 - the visitor's; named for the document
    """Show what a link opens: JSON, or a page where `Accept` asks for `text/html`.

    A link that is wrong, over or not for the caller is 404, whatever the reason. 401: it is for signed-in users. 403
    `share_password_required`: send its password to `POST /s/{token}`.
    """
    is_counted = request.method == "GET" and not is_automated(request)
    opened = links.open(token, visitor, is_counted=is_counted)
    shown = _shown(opened, link_path(request, token))
    return files_page(shown, link_path(request, token)) if prefers_html(request.headers.get("accept", "")) else shown


@router.post("/{token}", response_model=UnlockedShare, responses=problem_responses(401, 403, 404, 429), openapi_extra=_PROOF_BODY)
def unlock_link(token: str, request: Request, typed: ProofDep, visitor: VisitorDep, links: ShareLinksDep) -> Any:
    """Exchange a link's password for a pass of an hour, to be sent as `X-Share-Pass`. The form of the page gets a cookie instead.

    The page also sends `email` and `account_password`, where the link is for signed-in users; programs send their token.
    """
    proven = links.prove(token, typed.proof, visitor)
    if not typed.is_form:
        return UnlockedShare(share_pass=proven.value, expires_at=proven.expires_at)
    path = link_path(request, token)
    answer = RedirectResponse(path, status_code=303)
    is_secure = request.url.scheme == "https"
    answer.set_cookie(
        pass_cookie(request), proven.value, expires=proven.expires_at, path=path, secure=is_secure, httponly=True, samesite="lax"
    )
    return answer


@router.get(
    "/{token}/files/{file_id}",
    status_code=302,
    response_class=RedirectResponse,
    responses={302: {"description": "Found: the bytes are at `Location` for a minute"}, **problem_responses(401, 403, 404, 503)},
)
def download_linked_file(
    token: str,
    file_id: str,
    request: Request,
    visitor: VisitorDep,
    links: ShareLinksDep,
    range_: RangeHeader = None,
    share_pass: PassHeader = None,  # noqa: ARG001 - the visitor's; named for the document
) -> Any:
    """Redirect to the bytes. Each download is counted; HEAD is not, and gives none."""
    if is_automated(request):
        raise AutomatedRequestError
    signed = links.start_download(
        token, _file_id(file_id), visitor, method="HEAD" if request.method == "HEAD" else "GET", is_resumption=is_range_resume(range_)
    )
    return RedirectResponse(signed.url, status_code=302)


def link_path(request: Request, token: str) -> str:
    """Return the link's path, below the gateway's stage."""
    return quote(f"{request.scope.get('root_path', '')}/s/{token}")


def is_automated(request: Request) -> bool:
    """Whether nobody in person asks: a robot, or a browser that fetches ahead."""
    return is_robot(request.headers.get("user-agent", "")) or is_prefetch(request.headers)


def _file_id(text: str) -> UUID:
    # What is no id is no file: it must not look otherwise than a file that is not there.
    try:
        return UUID(text)
    except ValueError:
        return _NO_FILE


def _shown(opened: Opened, path: str) -> OpenedShare:
    share = opened.share
    return OpenedShare(
        files=[
            LinkedFile(
                id=file.id,
                filename=file.filename,
                content_type=file.content_type,
                size_bytes=file.size_bytes,
                download_url=f"{path}/files/{file.id}" if share.allows_download else None,
            )
            for file in opened.files
        ],
        note=share.note,
        expires_at=share.expires_at,
        downloads_left=None if share.max_downloads is None else max(0, share.max_downloads - share.download_count),
        allows_download=share.allows_download,
    )


for _path, _endpoint in (("/{token}", open_link), ("/{token}/files/{file_id}", download_linked_file)):
    router.add_api_route(_path, _endpoint, methods=["HEAD"], response_model=None, include_in_schema=False)
