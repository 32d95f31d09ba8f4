"""The S3 emulator: signatures checked, a bucket set up as production has it, and a key that may do only what the API does."""

import json
import secrets
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
from botocore.config import Config  # type: ignore[import-untyped]  # ships no type information

from infra.config import BUCKET_CORS_SECONDS, BUCKET_EXPOSED_HEADERS, BUCKET_METHODS, BUCKET_REQUEST_HEADERS
from infra.local.processes import LocalError, Server, base_environment, free_port

EMULATOR = Path(__file__).with_name("emulator.py")
BUCKET = "we-upload-local"
APPLICATION_USER = "we-upload-api"
BROWSER_ORIGINS = ("http://localhost:*", "http://127.0.0.1:*")
"""Pages that may send to the bucket when no origins are configured: those of the same machine."""


@dataclass(frozen=True)
class ObjectStoreServer:
    """A running emulator with its bucket, and the access key of the application's user."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str
    region: str
    bucket: str
    server: Server

    def stop(self) -> None:
        """End the emulator. Objects are on disk from the moment their upload is answered."""
        self.server.stop()


def start_object_store(
    data: Path, *, log: Path, temporary: Path, interpreter: Path, region: str = "us-east-1", origins: tuple[str, ...] = BROWSER_ORIGINS
) -> ObjectStoreServer:
    """Start the emulator on the folder `data`, with `interpreter` of the emulator's own environment, and set up the bucket.

    Only objects are kept between starts. Users, keys and the bucket's rules live in memory and are made anew each time: the emulator
    writes those down in an orderly end only, and would come back half set up after a crash. Raises LocalError when it does not start.
    """
    if not interpreter.exists():
        raise LocalError(f"The S3 emulator is not installed ({interpreter} is missing). Run: make setup")
    # It leaves a pid file and unpacked code behind, and nothing in there is worth keeping.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    data.mkdir(parents=True, exist_ok=True)
    root_key, root_secret = f"root-{secrets.token_hex(8)}", secrets.token_urlsafe(32)
    port = free_port()
    environment = base_environment(
        AUTH="true",
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        SERVICES="s3,iam,sts",
        IOT_MTLS_ENABLED="0",  # it would listen on a port of its own
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
    )
    server = Server("The S3 emulator", [interpreter, "-I", EMULATOR], log=log, environment=environment)
    endpoint_url = f"http://127.0.0.1:{port}"
    try:
        server.wait_until(lambda: _answers(endpoint_url))
        root = boto3.Session(root_key, root_secret, region_name=region)
        _set_up_bucket(_client(root, "s3", endpoint_url), region, origins)
        access_key_id, secret_access_key = _make_application_key(_client(root, "iam", endpoint_url))
    except BaseException:
        server.stop()
        raise
    return ObjectStoreServer(endpoint_url, access_key_id, secret_access_key, region, BUCKET, server)


def _answers(endpoint_url: str) -> bool:
    # A proxy from the environment has no business between two processes of one machine.
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
        # S3 names its first region by leaving it out.
        elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=BUCKET, **elsewhere)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=closed)
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    rule = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": list(BUCKET_METHODS),
        "AllowedHeaders": list(BUCKET_REQUEST_HEADERS),
        "ExposeHeaders": list(BUCKET_EXPOSED_HEADERS),
        "MaxAgeSeconds": BUCKET_CORS_SECONDS,
    }
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})


def _make_application_key(iam: Any) -> tuple[str, str]:
    """Make the user that the API signs as, allowed what the function's role is allowed, and return an access key of it."""
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    # Without the list permission S3 answers 403 for a missing object instead of 404.
    bucket = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    statements = [
        {"Effect": "Allow", "Action": objects, "Resource": f"arn:aws:s3:::{BUCKET}/*"},
        {"Effect": "Allow", "Action": bucket, "Resource": f"arn:aws:s3:::{BUCKET}"},
    ]
    iam.create_user(UserName=APPLICATION_USER)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=APPLICATION_USER, PolicyName="objects", PolicyDocument=policy)
    key = iam.create_access_key(UserName=APPLICATION_USER)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]
