"""The parts of multipart uploads: sign and list them. The caller has checked who may do so."""

from collections.abc import Sequence
from dataclasses import dataclass

from lambda_app.core.errors import MalformedRequestError
from lambda_app.models import File, FileStatus
from lambda_app.schemas.files.uploads import PartRequest
from lambda_app.services.files.upload_completion import NoPartsError, UploadLostError, plan_of
from lambda_app.storage.object_store import ObjectStore, PresignedRequest, StoredPart
from lambda_app.storage.parts import PartPlan


@dataclass(frozen=True, slots=True)
class SignedPart:
    """A presigned request that uploads one part."""

    number: int
    size_bytes: int
    request: PresignedRequest


class PartUploads:
    """Signs and lists the parts of pending files."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def sign(self, file: File, requested: Sequence[PartRequest]) -> list[SignedPart]:
        """Sign the requests that upload these parts. A part can be signed and uploaded again.

        Raises NoPartsError, UploadLostError, MalformedRequestError, UnavailableError.
        """
        upload_id, plan = _require_parts(file)
        signed = [self._sign_part(file, upload_id, plan, part) for part in requested]
        # S3 would refuse every part only after its bytes were sent.
        if not self._store.has_multipart(file.s3_key, upload_id):
            raise UploadLostError
        return signed

    def list(self, file: File) -> tuple[PartPlan, list[StoredPart]]:
        """Return the part plan of the upload, and the parts that were uploaded. Raises NoPartsError, UploadLostError, UnavailableError."""
        upload_id, plan = _require_parts(file)
        parts = self._store.list_parts(file.s3_key, upload_id)
        if parts is None:
            raise UploadLostError
        return plan, parts

    def _sign_part(self, file: File, upload_id: str, plan: PartPlan, part: PartRequest) -> SignedPart:
        length = plan.length_of(part.number)
        if length is None:
            raise MalformedRequestError(f"Parts are numbered from 1 to {plan.count}", code="no_such_part")
        if (part.sha256 is not None) != file.has_part_digests:
            rule = "Each part of this upload needs a sha256" if file.has_part_digests else "Parts of this upload must not have a sha256"
            raise MalformedRequestError(rule, code="part_digests_differ")
        request = self._store.presign_part(key=file.s3_key, upload_id=upload_id, number=part.number, size_bytes=length, sha256=part.sha256)
        return SignedPart(part.number, length, request)


def _require_parts(file: File) -> tuple[str, PartPlan]:
    if file.status != FileStatus.PENDING or file.upload_id is None:
        raise NoPartsError(extra={"file_status": file.status})
    return file.upload_id, plan_of(file)
