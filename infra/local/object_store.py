"""The S3 emulator: signatures are checked, the bucket is configured as in production, and the API's key has the API's permissions."""

import json
import secrets
import shutil
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
from botocore.config import Config  # type: ignore[import-untyped]  # ships no type information

from infra.config import BUCKET_CORS_SECONDS, BUCKET_EXPOSED_HEADERS, BUCKET_METHODS, BUCKET_REQUEST_HEADERS
from infra.local.processes import LocalError, Server, base_environment, free_port
from lambda_preview.storage import REQUEST_PREFIX, PreviewStore

EMULATOR = Path(__file__).with_name("emulator.py")
BUCKET = "we-upload-local"
TEST_BUCKETS = "we-upload-test-"
"""Prefix of the names of buckets that tests create, with the application's key: it may do anything with them."""
EVENT_PREFIXES = ("uploads/", "preview-results/")
"""Prefixes of the keys whose events the worker of uploads consumes, as in AWS."""
QUEUE = "we-upload-uploads"
PREVIEW_QUEUE = "we-upload-previews"
QUEUE_VISIBILITY_SECONDS = 30
QUEUE_BATCH = 10
"""Messages that one request receives or deletes at most."""
APPLICATION_USER = "we-upload-api"
PREVIEW_USER = "we-upload-preview"
PREVIEW_ACTIONS = {
    "uploads/": ["s3:GetObject"],
    "previews/": ["s3:PutObject"],
    "preview-results/": ["s3:PutObject"],
    "preview-requests/": ["s3:DeleteObject"],
}
"""What the preview worker may do, by key prefix. The function's role has the same permissions."""
BROWSER_ORIGINS = ("http://localhost:*", "http://127.0.0.1:*")
"""Origins that may use the bucket when none are configured: pages of this machine."""


@dataclass(frozen=True)
class AccessKey:
    """An access key of the emulator."""

    key_id: str
    secret: str


def make_access_key() -> AccessKey:
    """Return a random access key."""
    return AccessKey(f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(32))


@dataclass(frozen=True)
class UploadEvents:
    """A queue of the bucket's events. Only the worker of the local run has access, not the API."""

    sqs: Any
    url: str

    def receive(self, limit: int = QUEUE_BATCH) -> list[dict[str, str]]:
        """Return up to `limit` waiting messages as Lambda passes them on: `messageId`, `receiptHandle`, `body`."""
        messages: list[dict[str, str]] = []
        while len(messages) < limit:
            wanted = min(limit - len(messages), QUEUE_BATCH)
            found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=wanted).get("Messages", [])
            messages += [{"messageId": one["MessageId"], "receiptHandle": one["ReceiptHandle"], "body": one["Body"]} for one in found]
            if len(found) < wanted:
                break
        return messages

    def delete(self, messages: Iterable[dict[str, str]]) -> None:
        """Delete messages that have been processed."""
        entries = [{"Id": str(number), "ReceiptHandle": message["receiptHandle"]} for number, message in enumerate(messages)]
        for start in range(0, len(entries), QUEUE_BATCH):
            self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries[start : start + QUEUE_BATCH])


@dataclass(frozen=True)
class PreviewRequests:
    """The queue of preview requests, and the bucket as the preview worker may use it."""

    events: UploadEvents
    store: PreviewStore


@dataclass(frozen=True)
class ObjectStoreServer:
    """A running emulator with its bucket, and the access key of the application."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str
    bucket: str
    server: Server
    events: UploadEvents | None = None
    """None for a server that has no queue."""
    previews: PreviewRequests | None = None
    """None for a server that has no queue."""

    def stop(self) -> None:
        """Stop the emulator. Every object and part is on disk before its upload is answered."""
        self.server.stop()


def start_object_store(
    data: Path,
    *,
    log: Path,
    temporary: Path,
    interpreter: Path,
    region: str = "us-east-1",
    origins: tuple[str, ...] = BROWSER_ORIGINS,
    port: int | None = None,
    access_key: AccessKey | None = None,
) -> ObjectStoreServer:
    """Start the emulator on the folder `data`, with the `interpreter` of the emulator's environment, and set up the bucket.

    Objects, and multipart uploads in progress, are kept between starts. With the same `port` and `access_key` presigned URLs stay valid.
    The bucket's configuration is created at each start: the emulator writes it only at an orderly end, so a crash would leave half of it.
    Raises LocalError when the emulator does not start.
    """
    if not interpreter.exists():
        raise LocalError(f"The S3 emulator is not installed ({interpreter} is missing). Run: make setup")
    # Holds the emulator's pid file and unpacked code, which no later start needs.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    data.mkdir(parents=True, exist_ok=True)
    root_key, root_secret = f"root-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    port, access_key = port or free_port(), access_key or make_access_key()
    environment = base_environment(
        AUTH="true",
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        SERVICES="s3,iam,sts,sqs",
        IOT_MTLS_ENABLED="0",  # it would listen on another port
        SFTP_ENABLED="0",
        PERSIST_STATE="0",
        S3_PERSIST="1",
        S3_DATA_DIR=str(data),
        TMPDIR=str(temporary),
        MINISTACK_REGION=region,
        AWS_ACCESS_KEY_ID=root_key,
        AWS_SECRET_ACCESS_KEY=root_secret,
        LOG_LEVEL="WARNING",
        USE_SSL="0",
        WE_UPLOAD_BUCKET=BUCKET,
        WE_UPLOAD_MULTIPART_FOLDER=str(data.with_name(f"{data.name}-multipart")),
        WE_UPLOAD_USER=APPLICATION_USER,
        WE_UPLOAD_KEY_ID=access_key.key_id,
        WE_UPLOAD_KEY_SECRET=access_key.secret,
    )
    server = Server("The S3 emulator", [interpreter, "-I", EMULATOR], log=log, environment=environment)
    endpoint_url = f"http://127.0.0.1:{port}"
    try:
        server.wait_until(lambda: _is_ready(endpoint_url))
        root = boto3.Session(root_key, root_secret, region_name=region)
        s3 = _client(root, "s3", endpoint_url)
        _set_up_bucket(s3, region, origins)
        events, preview_events = _set_up_events(s3, _client(root, "sqs", endpoint_url))
        iam = _client(root, "iam", endpoint_url)
        _create_application_user(iam)
        worker = boto3.Session(*_create_preview_user(iam), region_name=region)
        previews = PreviewRequests(preview_events, PreviewStore(_client(worker, "s3", endpoint_url), BUCKET))
    except BaseException:
        server.stop()
        raise
    return ObjectStoreServer(endpoint_url, access_key.key_id, access_key.secret, region, BUCKET, server, events, previews)


def _is_ready(endpoint_url: str) -> bool:
    # Without the proxies of the environment: both processes are on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url}/_ministack/health", timeout=5) as answer:
            return json.load(answer)["auth"] == "enabled"  # type: ignore[no-any-return]
    except OSError:
        return False


def _client(session: boto3.Session, service: str, endpoint_url: str) -> Any:
    return session.client(service, endpoint_url=endpoint_url, config=Config(proxies={}, retries={"total_max_attempts": 1}))


def _set_up_bucket(s3: Any, region: str, origins: tuple[str, ...]) -> None:
    if BUCKET not in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
        # S3 refuses the name of its default region as a location constraint.
        location = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=BUCKET, **location)
    blocked = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=blocked)
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    rule = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": list(BUCKET_METHODS),
        "AllowedHeaders": list(BUCKET_REQUEST_HEADERS),
        "ExposeHeaders": list(BUCKET_EXPOSED_HEADERS),
        "MaxAgeSeconds": BUCKET_CORS_SECONDS,
    }
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})


def _set_up_events(s3: Any, sqs: Any) -> tuple[UploadEvents, UploadEvents]:
    """Create the queues of uploads and of preview requests, and let the bucket send its events to them."""
    queues = {QUEUE: EVENT_PREFIXES, PREVIEW_QUEUE: (REQUEST_PREFIX,)}
    urls = {name: _create_queue(sqs, name) for name in queues}
    notifications = [
        {
            "QueueArn": arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
        }
        for name, (_, arn) in urls.items()
        for prefix in queues[name]
    ]
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": notifications})
    return UploadEvents(sqs, urls[QUEUE][0]), UploadEvents(sqs, urls[PREVIEW_QUEUE][0])


def _create_queue(sqs: Any, name: str) -> tuple[str, str]:
    """Return the URL and the ARN of a new queue to which the bucket may send."""
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(QUEUE_VISIBILITY_SECONDS)})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    return url, arn


def _create_application_user(iam: Any) -> None:
    """Create the user of the application's access key, with the permissions of the API function's role."""
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    # Of the roles of a stage with malware scans.
    tags = ["s3:GetObjectTagging", "s3:PutObjectTagging"]
    # Without ListBucket S3 returns 403 instead of 404 for a missing object.
    bucket = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    statements = [
        {"Effect": "Allow", "Action": [*objects, *tags], "Resource": f"arn:aws:s3:::{BUCKET}/*"},
        {"Effect": "Allow", "Action": bucket, "Resource": f"arn:aws:s3:::{BUCKET}"},
        {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{TEST_BUCKETS}*"},
    ]
    iam.create_user(UserName=APPLICATION_USER)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=APPLICATION_USER, PolicyName="objects", PolicyDocument=policy)


def _create_preview_user(iam: Any) -> tuple[str, str]:
    """Create the user of the preview worker, and return its access key."""
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{BUCKET}/{prefix}*"}
        for prefix, actions in PREVIEW_ACTIONS.items()
    ]
    iam.create_user(UserName=PREVIEW_USER)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=PREVIEW_USER, PolicyName="previews", PolicyDocument=policy)
    key = iam.create_access_key(UserName=PREVIEW_USER)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]
