"""Batches of webhook messages on their way to the function that sends them, and their results, as encrypted objects in S3.

The functions in the VPC cannot send to the internet, and the function outside the VPC has no database. S3 is what both reach.
"""

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from lambda_app.core.aws import AwsAccess, AwsResponseError
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.settings import Settings
from lambda_app.core.webhooks import Batch, BatchResult
from lambda_app.storage.keys import webhook_result_key, webhook_work_key

T = TypeVar("T")

OBJECT_MAX_BYTES = 8 * 1024**2


class WebhookObjects:
    """Reads and writes the objects. The cipher binds each ciphertext to the id of its batch. All methods raise UnavailableError."""

    def __init__(self, settings: Settings, aws: AwsAccess, cipher: LinkTokenCipher) -> None:
        self._bucket = settings.s3_bucket_name
        self._aws = aws
        self._cipher = cipher

    def put_work(self, batch: Batch) -> None:
        """Write a batch, whose event starts the function that sends it."""
        self._put(webhook_work_key(batch.id), self._cipher.encrypt(batch.render(), row_id=batch.id))

    def get_work(self, batch_id: UUID) -> Batch | None:
        """Return a batch; None if it was sent already, or its key was removed."""
        return self._get(webhook_work_key(batch_id), batch_id, Batch.parse)

    def delete_work(self, batch_id: UUID) -> None:
        """Delete a batch that was sent."""
        self._delete(webhook_work_key(batch_id))

    def put_result(self, result: BatchResult) -> None:
        """Write a result, whose event starts the function that records it."""
        self._put(webhook_result_key(result.id), self._cipher.encrypt(result.render(), row_id=result.id))

    def get_result(self, batch_id: UUID) -> BatchResult | None:
        """Return a result; None if it was recorded already, or its key was removed."""
        return self._get(webhook_result_key(batch_id), batch_id, BatchResult.parse)

    def delete_result(self, batch_id: UUID) -> None:
        """Delete a result that was recorded."""
        self._delete(webhook_result_key(batch_id))

    def _put(self, key: str, text: str) -> None:
        self._aws.call("s3", "put_object", Bucket=self._bucket, Key=key, Body=text.encode(), ContentType="application/octet-stream")

    def _get(self, key: str, batch_id: UUID, parse: Callable[[str], T]) -> T | None:
        try:
            response = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=key)
        except AwsResponseError as error:
            if error.aws_code == "NoSuchKey":
                return None
            raise
        text = self._cipher.decrypt(self._aws.read(response["Body"], OBJECT_MAX_BYTES).decode(), row_id=batch_id)
        return None if text is None else parse(text)

    def _delete(self, key: str) -> None:
        self._aws.call("s3", "delete_object", Bucket=self._bucket, Key=key)
