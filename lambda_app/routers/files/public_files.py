"""The permanent links of public files."""

from fastapi import Request, Response

from lambda_app.dependencies.services import FilesDep
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.error_codes import WITHHELD

router = Router(tags=["public files"])


@router.get(
    "/p/{file_id}",
    status_code=302,
    response_class=Response,
    responses=problem_responses("file_not_found", *WITHHELD, "store_unavailable"),
)
@router.head("/p/{file_id}", status_code=302, include_in_schema=False)
def download_public_file(file_id: str, request: Request, files: FilesDep) -> Response:
    """Redirect to the content of a public file, at a URL that is valid for one minute. Files that are not public return 404."""
    download = files.start_public_download(file_id, method="HEAD" if request.method == "HEAD" else "GET")
    return Response(status_code=302, headers={"Location": download.request.url, "Cache-Control": "no-store"})
