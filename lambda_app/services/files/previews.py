"""Previews of files: the results of the preview worker, and presigned URLs of the images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from lambda_app.core.errors import AppError, NotAuthenticatedError
from lambda_app.models import FilePreview, PreviewState, User
from lambda_app.repositories.files.files import FileForbiddenError, NoSuchFileError
from lambda_app.repositories.files.previews import PreviewedFile, PreviewRepository
from lambda_app.schemas.files.previews import FailedReport, PreviewReport
from lambda_app.services.files.files import READER_DOWNLOAD_URL_TTL_SECONDS
from lambda_app.services.files.preview_requests import delete_previews, is_previewable
from lambda_app.storage.keys import preview_keys, preview_result_key
from lambda_app.storage.object_store import ObjectStore, PresignedRequest

IMAGE_TYPE = "image/webp"
IMAGE_NAME = "preview.webp"
REPORT_MAX_BYTES = 4096
PAGE_ROWS = 200

_REPORT: TypeAdapter[PreviewReport] = TypeAdapter(PreviewReport)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignedPreview:
    """A preview, if there is one, with the requests for the images that were signed."""

    preview: FilePreview | None
    small: PresignedRequest | None = None
    large: PresignedRequest | None = None


class PreviewService:
    """Requests previews of earlier files, records the results of the worker, and signs the images for callers who may read the file."""

    def __init__(self, *, previews: PreviewRepository, store: ObjectStore) -> None:
        self._previews = previews
        self._store = store

    def get_preview(self, viewer: User | None, file_id: UUID) -> SignedPreview:
        """Return the preview of a file with both images.

        Raises NotAuthenticatedError, NoSuchFileError, FileForbiddenError, UnavailableError.
        """
        (result,) = self._sign_all(viewer, [file_id], with_large=True)
        if isinstance(result, AppError):
            raise result
        return result

    def list_previews(self, viewer: User | None, file_ids: Sequence[UUID]) -> list[SignedPreview | AppError]:
        """Return the small preview of each file, or the error that `get_preview` would raise. Raises UnavailableError."""
        return self._sign_all(viewer, file_ids, with_large=False)

    def record_result(self, file_id: UUID) -> None:
        """Record the result that the worker has stored. Events can be late, repeated or wrong.

        The images of a file that has been deleted meanwhile are deleted. Raises UnavailableError.
        """
        body = self._store.read_start(preview_result_key(file_id), REPORT_MAX_BYTES)
        if not body:
            # An earlier delivery of the event has recorded it.
            return
        recorded = self._previews.record(file_id, **_result(body))
        if not recorded and not self._previews.has_preview(file_id):
            delete_previews(self._store, [file_id])
        self._store.delete(preview_result_key(file_id))

    def request_missing(self, *, limit: int) -> int:
        """Request the previews of up to `limit` files that became available without a worker, oldest first; return how many.

        The sweep sends the requests to the worker.
        """
        requested, last = 0, None
        while requested < limit and (page := self._previews.list_available(after=last, limit=PAGE_ROWS)):
            last = page[-1][0]
            missing = [file.id for file, has_row in page if not has_row and is_previewable(file)][: limit - requested]
            requested += self._previews.request_later(missing) if missing else 0
        return requested

    def _sign_all(self, viewer: User | None, file_ids: Sequence[UUID], *, with_large: bool) -> list[SignedPreview | AppError]:
        found = self._previews.list_readable(file_ids, viewer)
        return [self._sign(viewer, found.get(file_id), with_large=with_large) for file_id in file_ids]

    def _sign(self, viewer: User | None, file: PreviewedFile | None, *, with_large: bool) -> SignedPreview | AppError:
        if file is None or not file.is_permitted:
            if viewer is None:
                return NotAuthenticatedError("Not authenticated")
            return NoSuchFileError() if file is None else FileForbiddenError()
        if file.preview is None or file.preview.state != PreviewState.READY:
            return SignedPreview(file.preview)
        is_owner = viewer is not None and viewer.id == file.owner_id
        lifetime = None if is_owner else READER_DOWNLOAD_URL_TTL_SECONDS
        small, large = preview_keys(file.preview.file_id)
        return SignedPreview(
            file.preview,
            small=sign_preview_image(self._store, small, lifetime_seconds=lifetime),
            large=sign_preview_image(self._store, large, lifetime_seconds=lifetime) if with_large else None,
        )


def sign_preview_image(store: ObjectStore, key: str, *, lifetime_seconds: int | None) -> PresignedRequest:
    """Sign the GET of a preview's image. Raises UnavailableError."""
    return store.presign_inline(key=key, filename=IMAGE_NAME, content_type=IMAGE_TYPE, lifetime_seconds=lifetime_seconds)


def _result(body: bytes) -> dict[str, object]:
    """Return the columns of the worker's report. A report that is not valid is a failure."""
    try:
        report = _REPORT.validate_json(body)
    except ValidationError:
        logger.error("The report of a preview is not valid")
        return {"state": PreviewState.FAILED, "reason": "invalid"}
    if isinstance(report, FailedReport):
        return {"state": PreviewState.FAILED, "reason": report.reason}
    return {
        "state": PreviewState.READY,
        "width": report.width,
        "height": report.height,
        "small_width": report.small_size[0],
        "small_height": report.small_size[1],
        "large_width": report.large_size[0],
        "large_height": report.large_size[1],
        "duration_seconds": report.duration_seconds,
        "page_count": report.page_count,
    }
