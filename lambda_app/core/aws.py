"""Access to AWS: credentials, signing without a network call, and clients; the one module that imports boto3 and botocore.

Every import of theirs sits inside a function: a request that needs no call to AWS, also one that only signs, must not pay for them at a
cold start (docs/adr/0004-presigned-urls-without-a-boto3-client.md).
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings, aws_environment_keys
from lambda_app.core.signing import SigningKeys, sign_query

CONNECT_TIMEOUT_SECONDS = 2.0
"""Longest wait for a connection to AWS."""

READ_TIMEOUT_SECONDS = 5.0
"""Longest wait for an answer of AWS once connected."""

MAIL_TIMEOUT_SECONDS = 4.0
"""The same for SES, which is asked once."""

STREAM_PIECE_BYTES = 1024**2
"""How much of a streamed answer is read at a time."""

ATTEMPTS = 2
"""Tries of one call, the first included; with the timeouts above a call ends within 15 seconds."""

CREDENTIALS_MIN_SECONDS = 60
"""Credentials that die sooner are not signed with: the caller could hardly start before its URL is dead."""

DATABASE_TOKEN_SECONDS = 900
"""Lifecycle of a database token; RDS accepts no other."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """One set of keys; `expires_at` (aware UTC) is None when they do not say when they die."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that carries its signature, and the whole second (aware UTC) after which it is refused."""

    url: str = field(repr=False)
    expires_at: datetime


class AwsRefusedError(UnavailableError):
    """AWS answered a call with an error; `http_status` and `aws_code` are its own words, for our code and not for the caller."""

    def __init__(self, *, http_status: int, aws_code: str) -> None:
        super().__init__()
        self.http_status = http_status
        self.aws_code = aws_code


class AwsStream:
    """The body of a streamed answer, read piece by piece."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read_into(self, into: memoryview) -> None:
        """Fill `into` with the next bytes. Raises UnavailableError when there are fewer, or they break off."""
        from botocore.exceptions import (  # type: ignore[import-untyped]  # botocore ships no types
            HTTPClientError,
            ResponseStreamingError,
        )
        from urllib3.exceptions import HTTPError

        done = 0
        try:
            while done < len(into):
                piece = self._body.read(min(STREAM_PIECE_BYTES, len(into) - done))
                if not piece:
                    raise UnavailableError
                into[done : done + len(piece)] = piece
                done += len(piece)
        except (HTTPClientError, ResponseStreamingError, HTTPError, OSError) as error:
            raise UnavailableError from error

    def close(self) -> None:
        """Let go of the connection."""
        self._body.close()


class AwsAccess:
    """The credentials of this process and what is done with them. Nothing is looked up before it is needed.

    `credentials` replaces AWS's own chain of sources, for tests and emulators.
    """

    def __init__(self, settings: Settings, credentials: AwsCredentials | None = None, *, read_timeout_seconds: float | None = None) -> None:
        self._region = settings.aws_region
        self._endpoint_url = settings.aws_endpoint_url
        self._given = credentials
        self._read_timeout_seconds = READ_TIMEOUT_SECONDS if read_timeout_seconds is None else read_timeout_seconds
        self._lock = threading.Lock()
        self._source: Any = None
        self._clients: dict[str, Any] = {}

    def credentials(self) -> AwsCredentials:
        """Return the current keys, refreshed by botocore when they are about to die.

        Raises UnavailableError when no source has any, or the source does not answer.
        """
        if self._given is not None:
            return self._given
        if (keys := aws_environment_keys()) is not None:
            return AwsCredentials(*keys)
        from botocore.exceptions import BotoCoreError, ClientError

        # Beside its own errors botocore lets through what an unreadable token file, a malformed answer of the credential
        # endpoint, an expiry without a time zone or keys that are dead on arrival raise.
        try:
            source = self._credential_source()
            source.get_frozen_credentials()
            # There is no public way to ask for the expiry. A refresh publishes the keys before their expiry, so keys that
            # are read after it are never older than it says.
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
        """Sign a request to S3 into the query of `url`, which must be percent-encoded already.

        The host and every one of `headers` are signed; the body is not. The result lives `lifetime_seconds` or as long as the
        credentials, whichever is shorter. Raises UnavailableError when the credentials are missing or about to die.
        """
        credentials = self.credentials()
        signed_at = clock.now().replace(microsecond=0)
        seconds = _usable_seconds(credentials, now=signed_at, wanted=lifetime_seconds)
        signed = self._sign(credentials, "s3", method=method, url=url, headers=headers, signed_at=signed_at, seconds=seconds)
        return SignedUrl(signed, signed_at + timedelta(seconds=seconds))

    def database_auth_token(self, host: str, port: int, user: str) -> str:
        """Return the password with which `user` signs in to RDS or RDS Proxy at `host`; it lives 15 minutes.

        Raises UnavailableError when the credentials are missing.
        """
        url = f"https://{host}:{port}/?{urlencode({'Action': 'connect', 'DBUser': user}, quote_via=quote, safe='')}"
        signed_at = clock.now().replace(microsecond=0)
        seconds = DATABASE_TOKEN_SECONDS
        signed = self._sign(self.credentials(), "rds-db", method="GET", url=url, headers={}, signed_at=signed_at, seconds=seconds)
        return signed.removeprefix("https://")

    def client(self, service: str) -> Any:
        """Return the boto3 client of `service`, built once; it shares our credentials and may be used by several threads.

        Raises UnavailableError when the credentials are missing.
        """
        self.credentials()
        source = None if self._given else self._credential_source()
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._new_client(service, source)
            return self._clients[service]

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Make one call, as `call("s3", "head_object", Bucket=…, Key=…)`.

        Raises AwsRefusedError when AWS answers with an error, and UnavailableError when it does not answer.
        """
        from botocore.exceptions import ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as AwsConnectionError

        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise AwsRefusedError(http_status=status, aws_code=error.response.get("Error", {}).get("Code", "")) from error
        except (HTTPClientError, AwsConnectionError) as error:
            raise UnavailableError from error
        return answer

    def read(self, body: Any, length: int) -> bytes:
        """Read up to `length` bytes of a streamed answer and let go of it. Raises UnavailableError when it breaks off."""
        from botocore.exceptions import HTTPClientError, ResponseStreamingError
        from urllib3.exceptions import HTTPError

        try:
            with body:
                read: bytes = body.read(length)
        except (HTTPClientError, ResponseStreamingError, HTTPError, OSError) as error:
            raise UnavailableError from error
        return read

    def secret(self, arn: str) -> str:
        """Return the current text of a Secrets Manager secret.

        Raises AwsRefusedError and UnavailableError as `call` does.
        """
        return str(self.call("secretsmanager", "get_secret_value", SecretId=arn)["SecretString"])

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

    def _credential_source(self) -> Any:
        with self._lock:
            if self._source is None:
                self._source = _find_credentials()
            return self._source

    def _new_client(self, service: str, source: Any) -> Any:
        from boto3.session import Session  # type: ignore[import-untyped]  # boto3 ships no types
        from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
        from botocore.credentials import Credentials  # type: ignore[import-untyped]  # botocore ships no types
        from botocore.session import Session as CoreSession  # type: ignore[import-untyped]  # botocore ships no types

        given = self._given
        if given is not None:
            source = Credentials(given.access_key, given.secret_key, given.token)
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=self._read_timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        if service == "sesv2":
            # A mail can be asked for again; whoever changes an address waits for two of them.
            config = config.merge(Config(read_timeout=MAIL_TIMEOUT_SECONDS, retries={"mode": "standard", "total_max_attempts": 1}))
        if service == "s3":
            # Left to itself boto3 talks to the global host in us-east-1, and to an emulator by names that do not resolve.
            style = {"addressing_style": "path" if self._endpoint_url else "virtual", "us_east_1_regional_endpoint": "regional"}
            config = config.merge(Config(signature_version="s3v4", s3=style))
        core = CoreSession()
        core.register_component("credential_provider", _Found(source))
        return Session(botocore_session=core).client(service, self._region, endpoint_url=self._endpoint_url, config=config)


class _Found:
    """Hands a client the credentials that were found already, so that both refresh as one."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def load_credentials(self) -> Any:
        return self._source


def _find_credentials() -> Any:
    """Ask the sources of a Lambda function first, which need no session: the environment, then (SnapStart) the container endpoint.

    The rest of AWS's chain (profiles, single sign-on, instance roles) is loaded only when neither has any.
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


def _usable_seconds(credentials: AwsCredentials, *, now: datetime, wanted: int) -> int:
    if credentials.expires_at is None:
        return wanted
    left = int((credentials.expires_at - now).total_seconds())
    if left < min(wanted, CREDENTIALS_MIN_SECONDS):
        logger.error("AWS credentials die in %d seconds and no newer ones are to be had", left)
        raise UnavailableError
    return min(wanted, left)
