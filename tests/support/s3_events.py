"""Queue messages with S3 events."""

import json
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4


def s3_message(key: str, *, bucket: str, name: str = "ObjectCreated:Put") -> str:
    """Return the body of a message that S3 sends directly to the queue."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-01-02T03:04:05.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": quote_plus(key), "size": 5, "eTag": "e", "sequencer": "0055AED6DCD90281E5"},
        },
    }
    return json.dumps({"Records": [record]})


def eventbridge_message(key: str, *, bucket: str, kind: str = "Object Created") -> str:
    """Return the body of a message that S3 sends through EventBridge."""
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": kind,
            "source": "aws.s3",
            "time": "2026-01-02T03:04:05Z",
            "detail": {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 5, "etag": "e"}, "reason": "PutObject"},
        }
    )


def batch(*bodies: str) -> dict[str, Any]:
    """Return the Lambda event for a batch of SQS messages."""
    return {
        "Records": [
            {"messageId": f"message-{number}", "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies)
        ]
    }
