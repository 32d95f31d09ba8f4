"""The start of an upload in one statement."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from lambda_app.repositories.accounts.callers import Caller
from lambda_app.repositories.files.caller_uploads import CallerUploadRepository, Key, UploadLimits
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.accounts.callers import CallerService, SubmittedCredential
from lambda_app.services.files.idempotency import KEY_LIFETIME, LOCK_SECONDS, KeyedRequest, fingerprint_of
from lambda_app.services.files.uploads import UploadService, abandoned_at, pending_columns
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES, ObjectStore, PresignedRequest

UPLOAD_ROUTE = "POST /files/upload"


class UploadStart(NamedTuple):
    """The id of a pending file, and the presigned request that uploads its bytes."""

    file_id: UUID
    request: PresignedRequest


class CallerUploadService:
    """Starts uploads of callers that are authenticated by the same statement.

    What that statement does not decide, `UploadService` does in steps: a repeated idempotency key, and the reason of a refusal.
    """

    def __init__(
        self,
        *,
        uploads: CallerUploadRepository,
        callers: CallerService,
        store: ObjectStore,
        limits: UploadLimits,
        in_steps: Callable[[], AbstractContextManager[UploadService]],
    ) -> None:
        self._uploads = uploads
        self._callers = callers
        self._store = store
        self._limits = limits
        self._in_steps = in_steps

    def start_upload(self, submitted: SubmittedCredential, declared: FileCreate, *, key: str | None) -> UploadStart:
        """Create a pending file, reserve its size in the caller's quota, and sign the request that uploads its bytes.

        Raises NotAuthenticatedError and the errors of `UploadService.start_upload`.
        """
        if declared.size_bytes > SINGLE_PUT_MAX_BYTES:
            return self._start_in_steps(self._callers.authenticate(submitted), declared, key)
        credential = self._callers.read(submitted)
        file = pending_columns(declared)
        request = self._store.presign_upload(
            key=file["s3_key"], size_bytes=declared.size_bytes, content_type=declared.content_type, sha256=declared.sha256
        )
        file["upload_expires_at"] = abandoned_at(declared, request)
        reserved = self._uploads.reserve(credential, file, limits=self._limits, key=None if key is None else _key_row(key, declared, file))
        if reserved.is_rolled_back:
            caller = self._callers.authenticate(submitted)
        else:
            caller = self._callers.accept(submitted, credential, reserved.caller)
        return UploadStart(file["id"], request) if reserved.is_reserved else self._start_in_steps(caller, declared, key)

    def _start_in_steps(self, caller: Caller, declared: FileCreate, key: str | None) -> UploadStart:
        keyed = None if key is None else KeyedRequest.of(user_id=caller.id, route=UPLOAD_ROUTE, key=key, body=declared.model_dump_json())
        with self._in_steps() as uploads:
            started = uploads.start_upload(caller, declared, keyed=keyed)
            return UploadStart(started.file.id, started.request)


def _key_row(key: str, declared: FileCreate, file: Mapping[str, Any]) -> Key:
    created_at = file["created_at"]
    return Key(
        route=UPLOAD_ROUTE,
        key=key,
        fingerprint=fingerprint_of(declared.model_dump_json()),
        created_at=created_at,
        locked_until=created_at + timedelta(seconds=LOCK_SECONDS),
        expired_before=created_at - KEY_LIFETIME,
    )
