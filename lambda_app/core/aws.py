"""Access to AWS: credentials, local signing, and service clients. The only module that imports boto3 and botocore.

boto3 and botocore are imported inside functions, so that a cold start whose request makes no AWS call, or only signs, does not load
them (docs/adr/0004-presigned-urls-without-a-boto3-client.md).
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from lambda_app.core import clock
from lambda_app.core.errors import StoreUnavailableError, UnavailableError
from lambda_app.core.settings import Settings, aws_environment_keys
from lambda_app.core.signing import SigningKeys, sign_query

CONNECT_TIMEOUT_SECONDS = 2.0
"""Longest wait for a connection to AWS."""

READ_TIMEOUT_SECONDS = 5.0
"""Longest wait for a response of AWS once connected."""

MAIL_TIMEOUT_SECONDS = 4.0
"""Longest wait for a response of SES, which is called without retries."""

STREAM_CHUNK_BYTES = 1024**2
"""Longest single read from a streamed response."""

MAX_ATTEMPTS = 2
"""Attempts of one call, including the first. With the timeouts above a call ends within 15 seconds."""

CREDENTIALS_MIN_SECONDS = 60
"""Credentials that expire sooner are not used for signing: the URL could expire before the client uses it."""

SECRET_MAX_BYTES = 64 * 1024
"""The longest value of a secret, in Secrets Manager and in S3."""

DATABASE_TOKEN_SECONDS = 900
"""Validity of a database token; RDS accepts no other value."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """One set of keys. `expires_at` (aware UTC) is None when the expiry is unknown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A presigned URL. `expires_at` (aware UTC, whole seconds) is the time from which AWS rejects it."""

    url: str = field(repr=False)
    expires_at: datetime


class AwsResponseError(UnavailableError):
    """AWS returned an error. `http_status` and `aws_code` are for our code only and are not shown to the caller."""

    def __init__(self, *, http_status: int, aws_code: str, reported_as: type[UnavailableError] = UnavailableError) -> None:
        super().__init__(reported_as.message, code=reported_as.code)
        self.http_status = http_status
        self.aws_code = aws_code


class AwsStream:
    """The body of a streamed response, read in chunks."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer` with the next bytes. Raises StoreUnavailableError when the body ends early or the connection fails."""
        from botocore.exceptions import (  # type: ignore[import-untyped]  # botocore ships no types
            HTTPClientError,
            ResponseStreamingError,
        )
        from urllib3.exceptions import HTTPError

        done = 0
        try:
            while done < len(buffer):
                chunk = self._body.read(min(STREAM_CHUNK_BYTES, len(buffer) - done))
                if not chunk:
                    raise StoreUnavailableError
                buffer[done : done + len(chunk)] = chunk
                done += len(chunk)
        except (HTTPClientError, ResponseStreamingError, HTTPError, OSError) as error:
            raise StoreUnavailableError from error

    def close(self) -> None:
        """Close the connection."""
        self._body.close()


class AwsAccess:
    """The AWS credentials of this process, and the calls and signatures made with them. Credentials are loaded on first use.

    `credentials` replaces the credential provider chain of AWS, for tests and emulators.
    """

    def __init__(self, settings: Settings, credentials: AwsCredentials | None = None, *, read_timeout_seconds: float | None = None) -> None:
        self._region = settings.aws_region
        self._endpoint_url = settings.aws_endpoint_url
        self._fixed_credentials = credentials
        self._read_timeout_seconds = READ_TIMEOUT_SECONDS if read_timeout_seconds is None else read_timeout_seconds
        self._lock = threading.Lock()
        self._source: Any = None
        self._clients: dict[str, Any] = {}

    def credentials(self) -> AwsCredentials:
        """Return the current keys. botocore refreshes them before they expire.

        Raises UnavailableError when no provider has credentials or the provider does not respond.
        """
        if self._fixed_credentials is not None:
            return self._fixed_credentials
        if (keys := aws_environment_keys()) is not None:
            return AwsCredentials(*keys)
        from botocore.exceptions import BotoCoreError, ClientError

        # botocore does not wrap the errors of an unreadable token file, a malformed response of the credential endpoint, an expiry
        # without a time zone, or keys that have expired already.
        try:
            source = self._refreshing_credentials()
            source.get_frozen_credentials()
            # botocore has no public attribute for the expiry. A refresh stores the new keys before the new expiry, so keys that are
            # read after the expiry never expire before it.
            expires_at = getattr(source, "_expiry_time", None)
            frozen = source.get_frozen_credentials()
        except (BotoCoreError, ClientError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            logger.error("AWS credentials cannot be obtained: %s", error)
            raise UnavailableError from error
        return AwsCredentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            token=frozen.token,
            expires_at=expires_at and expires_at.astimezone(UTC),
        )

    def presign(self, *, method: str, url: str, headers: Mapping[str, str], lifetime_seconds: int) -> SignedUrl:
        """Sign a request to S3 in the query string of `url`, which must be percent-encoded already.

        The host and all `headers` are signed; the body is not. The URL is valid for `lifetime_seconds` or until the credentials
        expire, whichever is shorter. Raises UnavailableError when the credentials are missing or about to expire.
        """
        credentials = self.credentials()
        signed_at = clock.now().replace(microsecond=0)
        seconds = _limit_lifetime(credentials, now=signed_at, requested_seconds=lifetime_seconds)
        signed = self._sign(credentials, "s3", method=method, url=url, headers=headers, signed_at=signed_at, seconds=seconds)
        return SignedUrl(signed, signed_at + timedelta(seconds=seconds))

    def database_auth_token(self, host: str, port: int, user: str) -> str:
        """Return an IAM authentication token: the password of `user` at RDS or RDS Proxy on `host`, valid for 15 minutes.

        Raises UnavailableError when the credentials are missing.
        """
        url = f"https://{host}:{port}/?{urlencode({'Action': 'connect', 'DBUser': user}, quote_via=quote, safe='')}"
        signed_at = clock.now().replace(microsecond=0)
        seconds = DATABASE_TOKEN_SECONDS
        signed = self._sign(self.credentials(), "rds-db", method="GET", url=url, headers={}, signed_at=signed_at, seconds=seconds)
        return signed.removeprefix("https://")

    def client(self, service: str) -> Any:
        """Return the boto3 client of `service`, created once per process. It is thread-safe and uses the same credentials.

        Raises UnavailableError when the credentials are missing.
        """
        self.credentials()
        source = None if self._fixed_credentials else self._refreshing_credentials()
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._create_client(service, source)
            return self._clients[service]

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call one operation, for example `call("s3", "head_object", Bucket=…, Key=…)`, and return the response.

        Raises AwsResponseError when AWS returns an error, UnavailableError when it does not respond; both have the code of
        StoreUnavailableError for S3.
        """
        from botocore.exceptions import ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as AwsConnectionError

        unavailable = StoreUnavailableError if service == "s3" else UnavailableError
        try:
            response: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            aws_code = error.response.get("Error", {}).get("Code", "")
            raise AwsResponseError(http_status=status, aws_code=aws_code, reported_as=unavailable) from error
        except (HTTPClientError, AwsConnectionError) as error:
            raise unavailable from error
        return response

    def read(self, body: Any, length: int) -> bytes:
        """Read up to `length` bytes of a streamed response and close it. Raises StoreUnavailableError when the connection fails."""
        from botocore.exceptions import HTTPClientError, ResponseStreamingError
        from urllib3.exceptions import HTTPError

        try:
            with body:
                read: bytes = body.read(length)
        except (HTTPClientError, ResponseStreamingError, HTTPError, OSError) as error:
            raise StoreUnavailableError from error
        return read

    def secret(self, arn: str) -> str:
        """Return the current value of a secret: in Secrets Manager, or in an object of S3 (`arn:aws:s3:::BUCKET/KEY`).

        Raises AwsResponseError and UnavailableError.
        """
        stored = object_of_arn(arn)
        if stored is None:
            return str(self.call("secretsmanager", "get_secret_value", SecretId=arn)["SecretString"])
        bucket, key = stored
        try:
            response = self.call("s3", "get_object", Bucket=bucket, Key=key)
            return self.read(response["Body"], SECRET_MAX_BYTES).decode()
        except AwsResponseError as error:
            raise AwsResponseError(http_status=error.http_status, aws_code=error.aws_code) from error
        except StoreUnavailableError as error:
            # The key is missing, not a file.
            raise UnavailableError from error

    def _sign(
        self,
        credentials: AwsCredentials,
        service: str,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        signed_at: datetime,
        seconds: int,
    ) -> str:
        keys = SigningKeys(credentials.access_key, credentials.secret_key, credentials.token)
        return sign_query(
            keys, service=service, region=self._region, method=method, url=url, headers=headers, signed_at=signed_at, seconds=seconds
        )

    def _refreshing_credentials(self) -> Any:
        with self._lock:
            if self._source is None:
                self._source = _load_credentials()
            return self._source

    def _create_client(self, service: str, source: Any) -> Any:
        from boto3.session import Session  # type: ignore[import-untyped]  # boto3 ships no types
        from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
        from botocore.credentials import Credentials  # type: ignore[import-untyped]  # botocore ships no types
        from botocore.session import Session as CoreSession  # type: ignore[import-untyped]  # botocore ships no types

        fixed = self._fixed_credentials
        if fixed is not None:
            source = Credentials(fixed.access_key, fixed.secret_key, fixed.token)
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=self._read_timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        )
        if service == "sesv2":
            # The user can request a mail again, and a change of address waits for two mails: fail fast instead of retrying.
            config = config.merge(Config(read_timeout=MAIL_TIMEOUT_SECONDS, retries={"mode": "standard", "total_max_attempts": 1}))
        if service == "s3":
            # By default boto3 uses the global endpoint in us-east-1, and host names that an emulator's DNS does not resolve.
            style = {"addressing_style": "path" if self._endpoint_url else "virtual", "us_east_1_regional_endpoint": "regional"}
            config = config.merge(Config(signature_version="s3v4", s3=style))
        core = CoreSession()
        core.register_component("credential_provider", _SharedCredentialProvider(source))
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_timestamp)
        return Session(botocore_session=core).client(service, self._region, endpoint_url=self._endpoint_url, config=config)


def parse_timestamp(value: Any) -> datetime:
    """Return the time of a response of AWS. botocore's own parser takes half of the time of a listing, whose times are ISO 8601."""
    from botocore.utils import parse_timestamp as parse_any  # type: ignore[import-untyped]  # botocore ships no types

    if isinstance(value, str) and value.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    parsed: datetime = parse_any(value)
    return parsed


def object_of_arn(arn: str) -> tuple[str, str] | None:
    """Return bucket and key of the ARN of an S3 object; None for an ARN of another service."""
    match arn.split(":", 5):
        case ["arn", _, "s3", "", "", name] if "/" in name:
            bucket, _, key = name.partition("/")
            return bucket, key
        case _:
            return None


class _SharedCredentialProvider:
    """Gives all clients the same refreshing credentials object, so that one refresh serves all of them."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def load_credentials(self) -> Any:
        return self._source


def _load_credentials() -> Any:
    """Try the providers of a Lambda function first, which need no botocore session: environment, then container endpoint (SnapStart).

    The other providers (profiles, single sign-on, instance roles) are loaded only when both have no credentials.
    """
    from botocore.credentials import ContainerProvider, CredentialResolver, EnvProvider
    from botocore.exceptions import NoCredentialsError

    found = CredentialResolver([EnvProvider(), ContainerProvider()]).load_credentials()
    if found is None:
        from botocore.session import Session

        found = Session().get_credentials()
    if found is None:
        raise NoCredentialsError
    return found


def _limit_lifetime(credentials: AwsCredentials, *, now: datetime, requested_seconds: int) -> int:
    if credentials.expires_at is None:
        return requested_seconds
    left = int((credentials.expires_at - now).total_seconds())
    if left < min(requested_seconds, CREDENTIALS_MIN_SECONDS):
        logger.error("AWS credentials expire in %d seconds and could not be refreshed", left)
        raise UnavailableError
    return min(requested_seconds, left)
