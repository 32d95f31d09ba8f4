"""The Lambda entry point of the preview worker. To request a preview, the API puts a marker object; S3 then sends an event to SQS.

The function runs outside the VPC and has no access to the database. Its result is an object, too, whose event starts the function that
records it.
"""

import json
import logging
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from lambda_preview import sandbox
from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.storage import PreviewStore, requested_file_of

WITHHELD_RECEIVES = 4
"""How often a file that the storage withholds is tried: a scan for malware takes minutes. The queue gives up after one more."""

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


@cache
def _store() -> PreviewStore:
    return PreviewStore.from_environment()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Make the requested previews and return the messages to redeliver (ReportBatchItemFailures)."""
    return make_previews(_store(), event)


def make_previews(store: PreviewStore, event: dict[str, Any]) -> dict[str, Any]:
    """Make the preview that each of the SQS messages requests. Returns the failed messages, which SQS redelivers."""
    failed = []
    for message in event.get("Records", []):
        try:
            receives = int(message.get("attributes", {}).get("ApproximateReceiveCount", 1))
            for file_id in _requested_files(message["body"], bucket=store.bucket):
                make_preview(store, file_id, is_last_try=receives >= WITHHELD_RECEIVES)
        except Exception:
            # The event source retries the message, and moves it to the dead letters after its last attempt.
            logger.exception("A message failed and will be redelivered")
            failed.append({"itemIdentifier": message.get("messageId", "")})
    return {"batchItemFailures": failed}


def make_preview(store: PreviewStore, file_id: str, *, is_last_try: bool) -> None:
    """Make the preview of a file, and store its result. Raises PreviewFailedError for a withheld file that should be tried again."""
    try:
        size_bytes = store.size_of(file_id)
        rendered = sandbox.render(size_bytes, lambda offset, length: store.read(file_id, offset, length))
    except PreviewFailedError as error:
        if error.reason is Reason.WITHHELD and not is_last_try:
            raise
        logger.info("preview of %s: %s", file_id, error.reason.value)
        store.put_failure(file_id, error.reason)
    else:
        logger.info("preview of %s: ready", file_id)
        store.put_preview(file_id, rendered)
    store.delete_request(file_id)


def _requested_files(body: str, *, bucket: str) -> list[str]:
    message = json.loads(body)
    if message.get("Event") == "s3:TestEvent":
        return []
    created = [record["s3"] for record in message["Records"] if record["eventName"].startswith("ObjectCreated:")]
    keys = [unquote_plus(entity["object"]["key"]) for entity in created if entity["bucket"]["name"] == bucket]
    return [file_id for key in keys if (file_id := requested_file_of(key)) is not None]
