"""The walk with the client of openapi-python-client. `PYTHONPATH` is the folder of the generated package `we_upload_api`."""

import json
import os
from typing import Any, TypeVar
from uuid import UUID

import httpx
from we_upload_api import AuthenticatedClient, Client
from we_upload_api.api.files import complete_upload, get_file, list_files, start_upload
from we_upload_api.api.login import sign_in
from we_upload_api.api.share_links import open_share
from we_upload_api.api.shares import share_file
from we_upload_api.api.users import create_user
from we_upload_api.models import (
    File,
    FileCreate,
    FileNotFoundProblem,
    FileUploadResponse,
    MalformedRequestProblem,
    NotAuthenticatedProblem,
    OpenedShare,
    Order,
    Share,
    ShareOptions,
    SignInForm,
    SingleUploadTooLargeProblem,
    Token,
    User,
    UserCreate,
)

T = TypeVar("T")
CONTENT = b"written by a generated client"
ABSENT_ID = "0b8f7d3e-6a52-4c0d-9a5e-2f6f4b1c7a10"
TOO_LARGE_BYTES = 6 * 1024**4


def expect(kind: type[T], answer: Any) -> T:
    """Return the parsed response; the client made a model of it."""
    if not isinstance(answer, kind):
        raise TypeError(f"{answer!r} is no {kind.__name__}")
    return answer


def walk(url: str, email: str, password: str) -> dict[str, Any]:
    """Register, sign in, upload, list, share, and provoke errors."""
    anonymous = Client(base_url=url)
    user = expect(User, create_user.sync(client=anonymous, body=UserCreate(email=email, password=password)))
    token = expect(Token, sign_in.sync(client=anonymous, body=SignInForm(username=email, password=password)))
    client = AuthenticatedClient(base_url=url, token=token.access_token)
    declared = FileCreate(filename="walk.txt", content_type="text/plain", size_bytes=len(CONTENT))
    upload = expect(FileUploadResponse, start_upload.sync(client=client, body=declared, idempotency_key="walk-1"))
    httpx.request(upload.method, upload.upload_url, headers=upload.headers.to_dict(), content=CONTENT).raise_for_status()
    file = expect(File, complete_upload.sync(upload.file_id, client=client))
    listed = list_files.sync_detailed(client=client, limit=10, sort=Order.NEWEST_FIRST, content_type="text/")
    share = expect(Share, share_file.sync(upload.file_id, client=client, body=ShareOptions(max_downloads=5)))
    link = expect(OpenedShare, open_share.sync(str(share.url).rpartition("/")[2], client=client))
    missing = expect(FileNotFoundProblem, get_file.sync(UUID(ABSENT_ID), client=client))
    large = FileCreate(filename="walk.txt", content_type="text/plain", size_bytes=TOO_LARGE_BYTES)
    too_large = expect(SingleUploadTooLargeProblem, start_upload.sync(client=client, body=large))
    nameless = FileCreate(filename="", content_type="text/plain", size_bytes=1)
    invalid = expect(MalformedRequestProblem, start_upload.sync(client=client, body=nameless))
    refused = expect(NotAuthenticatedProblem, list_files.sync(client=anonymous))
    return {
        "userEmail": user.email,
        "status": file.status,
        "listed": [found.filename for found in listed.parsed],
        "nextCursor": listed.headers.get("X-Next-Cursor"),
        "shared": [found.filename for found in link.files],
        "missing": missing.code,
        "tooLarge": {"code": too_large.code, "maxBytes": too_large.max_bytes},
        "invalid": {"code": invalid.code, "field": invalid.errors[0].loc[-1]},
        "refused": refused.code,
    }


if __name__ == "__main__":
    print(json.dumps(walk(os.environ["WE_UPLOAD_URL"], os.environ["WE_UPLOAD_EMAIL"], os.environ["WE_UPLOAD_PASSWORD"])))
