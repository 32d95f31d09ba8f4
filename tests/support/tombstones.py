"""Files whose upload URL outlives them."""

from typing import Any

from lambda_app.models import User
from lambda_app.schemas.files.files import DeclaredFile
from lambda_app.schemas.files.uploads import PartRequest
from lambda_app.schemas.sharing.file_requests import FileRequestCreate
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.sharing.public_uploads import StartedPublicUpload
from lambda_app.storage.object_store import PresignedRequest
from tests.support.lifecycle import Lifecycle

BODY = b"hello"


def start_as_guest(lifecycle: Lifecycle, owner: User) -> StartedPublicUpload:
    """Start an upload to a new file request of the owner."""
    with lifecycle.services.unit_of_work() as session:
        # One request for all uploads: an account can have only a hundred.
        keyed = KeyedRequest.of(user_id=owner.id, route="POST /file-requests", key="k", body="{}")
        request = lifecycle.services.file_requests(session).create(owner, FileRequestCreate(title="Photos"), keyed=keyed)
    declared = DeclaredFile(filename="a.txt", content_type="text/plain", size_bytes=len(BODY))
    with lifecycle.services.unit_of_work() as session:
        return lifecycle.services.public_uploads(session).start(request.token, declared)


def delete_now(lifecycle: Lifecycle, user: User, file_id: Any) -> None:
    """Delete a file permanently."""
    lifecycle.delete(user, file_id, is_permanent=True)


def deleted_in_parts(lifecycle: Lifecycle, user: User) -> PresignedRequest:
    """Delete a multipart upload and return the request of its part."""
    file = lifecycle.start_parts(user, len(BODY))
    (part,) = lifecycle.upload(lambda uploads: uploads.sign_parts(user, file.id, [PartRequest(number=1)]))
    delete_now(lifecycle, user, file.id)
    return part.request
