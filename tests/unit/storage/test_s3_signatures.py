"""Presigned URLs are identical to those of boto3 for the same request and time."""

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3  # type: ignore[import-untyped]  # ships no types
import pytest
import time_machine
from botocore.config import Config  # type: ignore[import-untyped]  # ships no types
from pydantic import SecretStr

from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Environment, Settings
from lambda_app.storage.content import content_disposition, served_content_type
from lambda_app.storage.s3 import S3ObjectStore

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE+/" + "Ab9+/=" * 150
KEYS = ("uploads/0f8fad5b-d9cb-469f-a165-70867728950e", "it's/(a)*b!.-_c")
CONTENT_TYPES = ("image/png", "Image/PNG", "text/plain; charset=utf-8", 'text/plain;  a="b   c"', "application/vnd.api+json")
LENGTHS = (0, 1, 5 * 1024**3)
DIGESTS = (None, hashlib.sha256(b"x").hexdigest())
FILENAMES = ("a.txt", 'naïve 100% +&=?/\\"quoted".pdf', "👩‍👩‍👧 عربي.svg")


@dataclass(frozen=True)
class Place:
    """Location and endpoints of a bucket."""

    region: str
    bucket: str = "we-upload-files"
    endpoint: str | None = None
    public_endpoint: str | None = None
    token: str | None = TOKEN


PLACES = (
    Place("us-east-1"),
    Place("eu-central-1", token=None),
    Place("cn-north-1"),
    Place("us-gov-west-1"),
    Place("eu-west-3", bucket="we.upload.files"),
    Place("us-east-1", endpoint="http://127.0.0.1:4566", token=None),
    Place("eu-central-1", bucket="we.upload.files", endpoint="https://s3.example.com"),
    Place("eu-central-1", endpoint="http://s3:9000", public_endpoint="https://files.example.com:8443"),
)


def _store(place: Place) -> S3ObjectStore:
    settings = Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://nobody@127.0.0.1/none"),
        secret_key=SecretStr("unused"),
        s3_bucket_name=place.bucket,
        aws_region=place.region,
        aws_endpoint_url=place.endpoint,
        s3_public_endpoint_url=place.public_endpoint,
        presigned_url_expiration=600,
    )
    return S3ObjectStore(settings, AwsAccess(settings, AwsCredentials("AKIDEXAMPLE", SECRET, place.token)))


def _oracle(place: Place) -> Any:
    endpoint = place.public_endpoint or place.endpoint
    return boto3.client(
        "s3",
        region_name=place.region,
        endpoint_url=endpoint,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET,
        aws_session_token=place.token,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "virtual", "us_east_1_regional_endpoint": "regional"},
        ),
    )


def _parts(url: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc, parts.path, sorted(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.region}-{place.bucket}-{place.endpoint}-{place.public_endpoint}")
@time_machine.travel("2026-02-28T23:59:59.987Z", tick=False)
def test_upload_and_download_urls_equal_those_of_boto3(place: Place) -> None:
    store, oracle = _store(place), _oracle(place)

    for key in KEYS:
        for content_type in CONTENT_TYPES:
            for size_bytes in LENGTHS:
                for sha256 in DIGESTS:
                    ours = store.presign_upload(key=key, size_bytes=size_bytes, content_type=content_type, sha256=sha256)
                    parameters = {"Bucket": place.bucket, "Key": key, "ContentLength": size_bytes, "ContentType": content_type}
                    parameters |= {"IfNoneMatch": "*"}
                    if sha256:
                        parameters["ChecksumSHA256"] = ours.headers["x-amz-checksum-sha256"]
                    theirs = oracle.generate_presigned_url("put_object", parameters, ExpiresIn=600)
                    assert _parts(ours.url) == _parts(theirs)
        for filename in FILENAMES:
            download = store.presign_download(key=key, filename=filename, content_type="text/plain")
            parameters = {
                "Bucket": place.bucket,
                "Key": key,
                "ResponseContentDisposition": content_disposition(filename),
                "ResponseCacheControl": "private, no-store",
                "ResponseContentEncoding": "identity",
                "ResponseContentLanguage": "und",
                "ResponseExpires": "Thu, 01 Jan 1970 00:00:00 GMT",
                "ResponseContentType": served_content_type("text/plain"),
            }
            theirs = oracle.generate_presigned_url("get_object", parameters, ExpiresIn=600)
            assert _parts(download.url) == _parts(theirs)


@time_machine.travel("2026-02-28T23:59:59.987Z", tick=False)
def test_signature_covers_all_required_headers() -> None:
    upload = _store(PLACES[0]).presign_upload(key=KEYS[0], size_bytes=1, content_type="image/png", sha256=DIGESTS[1])

    query = dict(parse_qsl(urlsplit(upload.url).query))
    assert query["X-Amz-SignedHeaders"].split(";") == sorted({name.lower() for name in upload.headers} | {"host"})
    assert upload.method == "PUT"
    assert upload.headers == {
        "Content-Length": "1",
        "Content-Type": "image/png",
        "If-None-Match": "*",
        "x-amz-checksum-sha256": "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=",
    }


@time_machine.travel("2026-02-28T23:59:59.987Z", tick=False)
def test_reported_expiry_equals_the_signed_expiry() -> None:
    upload = _store(PLACES[0]).presign_upload(key=KEYS[0], size_bytes=1, content_type="image/png", sha256=None)

    query = dict(parse_qsl(urlsplit(upload.url).query))
    assert (query["X-Amz-Date"], query["X-Amz-Expires"]) == ("20260228T235959Z", "600")
    assert upload.expires_at.isoformat() == "2026-03-01T00:09:59+00:00"


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (Place("us-east-1"), "https://we-upload-files.s3.us-east-1.amazonaws.com/"),
        (Place("cn-north-1"), "https://we-upload-files.s3.cn-north-1.amazonaws.com.cn/"),
        (Place("eu-west-3", bucket="we.upload.files"), "https://s3.eu-west-3.amazonaws.com/we.upload.files/"),
        (Place("eu-west-3", endpoint="http://127.0.0.1:4566"), "http://127.0.0.1:4566/we-upload-files/"),
        (
            Place("eu-west-3", endpoint="http://s3:9000", public_endpoint="https://files.example.com"),
            "https://files.example.com/we-upload-files/",
        ),
    ],
)
def test_url_uses_the_public_host(place: Place, address: str) -> None:
    download = _store(place).presign_download(key=KEYS[0], filename="a", content_type="image/png")

    assert download.url.startswith(f"{address}{KEYS[0]}?")
