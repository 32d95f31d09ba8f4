"""AWS credentials, the lifetime of signatures, database tokens, and clients."""

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3  # type: ignore[import-untyped]  # ships no types
import pytest
import time_machine
from botocore.credentials import RefreshableCredentials  # type: ignore[import-untyped]  # ships no types
from botocore.utils import parse_timestamp as parse_any_timestamp  # type: ignore[import-untyped]  # ships no types
from pydantic import SecretStr

from lambda_app.core.aws import CONNECT_TIMEOUT_SECONDS, MAX_ATTEMPTS, READ_TIMEOUT_SECONDS, AwsAccess, AwsCredentials, parse_timestamp
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Environment, Settings

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    """An environment in which the credential provider chain finds nothing and makes no network request."""
    for name in SOURCES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("BOTO_CONFIG", str(tmp_path / "boto"))
    return monkeypatch


@pytest.fixture(autouse=True)
def our_log_reaches_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    # `configure_logs`, called by earlier tests, has disabled the propagation to pytest's handler.
    monkeypatch.setattr(logging.getLogger("lambda_app"), "propagate", True)


def _settings(**changes: Any) -> Settings:
    values = {
        "environment": Environment.LOCAL,
        "database_url": SecretStr("postgresql://nobody@127.0.0.1/none"),
        "secret_key": SecretStr("unused"),
        "s3_bucket_name": "we-upload-files",
        "aws_region": "eu-central-1",
    }
    return Settings(**(values | changes))


def _presign(aws: AwsAccess, lifetime_seconds: int = 900) -> tuple[str, datetime]:
    signed = aws.presign(method="GET", url="https://b.s3.eu-central-1.amazonaws.com/k", headers={}, lifetime_seconds=lifetime_seconds)
    return signed.url, signed.expires_at


def test_environment_credentials_are_used_and_hidden_in_the_repr(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    environ.setenv("AWS_SESSION_TOKEN", "sessiontoken")

    found = AwsAccess(_settings()).credentials()

    assert found == AwsCredentials("AKIDENV", "verysecret", "sessiontoken", None)
    assert "verysecret" not in repr(found)
    assert "sessiontoken" not in repr(found)


def test_environment_has_priority_over_the_container_endpoint(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
    environ.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://not-a-loopback.example/creds")

    assert AwsAccess(_settings()).credentials().access_key == "AKIDENV"


def test_developer_profile_is_used_as_a_fallback(environ: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "credentials").write_text("[dev]\naws_access_key_id = AKIDFILE\naws_secret_access_key = filesecret\n")
    environ.setenv("AWS_PROFILE", "dev")

    assert AwsAccess(_settings()).credentials() == AwsCredentials("AKIDFILE", "filesecret")


def test_container_credentials_are_refreshed_before_they_expire(environ: pytest.MonkeyPatch) -> None:
    # With SnapStart a Lambda function has a container endpoint instead of keys in its environment.
    environ.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9001/creds")
    environ.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t0ken")
    requests: list[tuple[str, Any]] = []

    def respond(_: Any, uri: str, headers: Any = None) -> dict[str, str]:
        requests.append((uri, headers))
        lifetime = timedelta(minutes=20) if len(requests) == 1 else timedelta(hours=6)
        expiration = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": f"ASIA{len(requests)}", "SecretAccessKey": "s", "Token": "t", "Expiration": expiration}

    environ.setattr("botocore.utils.ContainerMetadataFetcher.retrieve_full_uri", respond)
    with time_machine.travel(NOW, tick=False) as traveller:
        aws = AwsAccess(_settings())
        first = aws.credentials()
        again = aws.credentials()
        traveller.shift(timedelta(minutes=19))
        renewed = aws.credentials()

    assert requests == [("http://127.0.0.1:9001/creds", {"Authorization": "t0ken"})] * 2
    assert first == again == AwsCredentials("ASIA1", "s", "t", datetime(2026, 1, 2, 3, 24, 5, tzinfo=UTC))
    assert renewed == AwsCredentials("ASIA2", "s", "t", datetime(2026, 1, 2, 9, 23, 5, tzinfo=UTC))


def test_missing_credentials_raise_unavailable_and_are_logged(environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    aws = AwsAccess(_settings())

    for use in (aws.credentials, lambda: _presign(aws), lambda: aws.client("s3"), lambda: aws.database_auth_token("h", 5432, "u")):
        caplog.clear()
        with pytest.raises(UnavailableError):
            use()
        assert "AWS credentials cannot be obtained: Unable to locate credentials" in caplog.text


def test_missing_credentials_are_looked_up_again_by_the_next_request(environ: pytest.MonkeyPatch) -> None:
    aws = AwsAccess(_settings())
    with pytest.raises(UnavailableError):
        aws.credentials()

    environ.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "s")

    assert aws.credentials().access_key == "AKIDENV"


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ACCESS_KEY_ID": "AKIDENV"},
        {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CREDENTIAL_EXPIRATION": "soon"},
        {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00"},
        {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://not-a-loopback.example/creds"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere/token"},
        {"AWS_PROFILE": "nobody"},
    ],
    ids=["no secret", "bad expiry", "expiry without a zone", "expired", "foreign endpoint", "no token file", "no such profile"],
)
def test_invalid_credential_source_raises_unavailable(environ: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)

    with pytest.raises(UnavailableError) as unavailable:
        AwsAccess(_settings()).credentials()
    assert unavailable.value.__cause__ is not None


def test_url_expires_with_the_environment_credentials(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
    environ.setenv("AWS_CREDENTIAL_EXPIRATION", "2026-01-02T05:14:05+02:00")
    with time_machine.travel(NOW, tick=False):
        aws = AwsAccess(_settings())
        url, expires_at = _presign(aws)
        credentials_expire_at = aws.credentials().expires_at

    query = dict(parse_qsl(urlsplit(url).query))
    assert (query["X-Amz-Date"], query["X-Amz-Expires"]) == ("20260102T030405Z", "600")
    assert expires_at == credentials_expire_at == datetime(2026, 1, 2, 3, 14, 5, tzinfo=UTC)
    assert credentials_expire_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("left", "requested", "lifetime"),
    [(None, 900, 900), (3600, 900, 900), (900, 900, 900), (899.9, 900, 899), (60, 900, 60), (10, 5, 5), (1, 1, 1)],
)
@time_machine.travel(NOW.replace(microsecond=0), tick=False)
def test_url_lifetime_is_limited_by_the_credentials(left: float | None, requested: int, lifetime: int) -> None:
    expiry = None if left is None else NOW.replace(microsecond=0) + timedelta(seconds=left)
    aws = AwsAccess(_settings(), AwsCredentials("AKID", "s", "t", expiry))

    url, expires_at = _presign(aws, requested)

    assert expires_at == NOW.replace(microsecond=0) + timedelta(seconds=lifetime)
    assert dict(parse_qsl(urlsplit(url).query))["X-Amz-Expires"] == str(lifetime)


@pytest.mark.parametrize(("left", "requested"), [(59, 900), (0, 900), (-10, 900), (4, 5), (0, 1)])
@time_machine.travel(NOW.replace(microsecond=0), tick=False)
def test_credentials_close_to_expiry_are_not_used_for_signing(left: int, requested: int, caplog: pytest.LogCaptureFixture) -> None:
    aws = AwsAccess(_settings(), AwsCredentials("AKID", "s", "t", NOW.replace(microsecond=0) + timedelta(seconds=left)))

    with pytest.raises(UnavailableError):
        _presign(aws, requested)
    assert f"AWS credentials expire in {left} seconds" in caplog.text


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
@pytest.mark.parametrize("token", [None, "Ab9+/=" * 100])
@time_machine.travel(NOW, tick=False)
def test_database_token_equals_the_token_of_boto3(region: str, token: str | None) -> None:
    aws = AwsAccess(_settings(aws_region=region), AwsCredentials("AKID", "secret", token))
    rds = boto3.client("rds", region_name=region, aws_access_key_id="AKID", aws_secret_access_key="secret", aws_session_token=token)

    ours = aws.database_auth_token("proxy.example.rds.amazonaws.com", 5432, "app user+1")

    theirs = rds.generate_db_auth_token("proxy.example.rds.amazonaws.com", 5432, "app user+1")
    assert ours.startswith("proxy.example.rds.amazonaws.com:5432/?Action=connect&")
    assert sorted(parse_qsl(urlsplit(f"//{ours}").query)) == sorted(parse_qsl(urlsplit(f"//{theirs}").query))


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4566"])
def test_client_uses_regional_hosts_sigv4_and_timeouts(endpoint: str | None) -> None:
    aws = AwsAccess(_settings(aws_region="us-east-1", aws_endpoint_url=endpoint), AwsCredentials("AKID", "s"))

    client = aws.client("s3")

    assert client is aws.client("s3")
    config = client.meta.config
    assert config.signature_version == "s3v4"
    assert config.s3["addressing_style"] == ("path" if endpoint else "virtual")
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    assert config.retries == {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS}
    assert client.meta.endpoint_url == (endpoint or "https://s3.us-east-1.amazonaws.com")


def test_client_and_signing_share_credentials(environ: pytest.MonkeyPatch) -> None:
    source = RefreshableCredentials("AKIDSHARED", "s", "t", datetime.now(UTC) + timedelta(hours=1), dict, "test")
    environ.setattr("lambda_app.core.aws._load_credentials", lambda: source)
    environ.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    environ.setenv("AWS_SECRET_ACCESS_KEY", "s")
    environ.setenv("AWS_CREDENTIAL_EXPIRATION", "2099-01-01T00:00:00Z")  # botocore handles keys with an expiry
    aws = AwsAccess(_settings())

    client = aws.client("s3")

    assert aws.credentials().access_key == "AKIDSHARED"
    assert "X-Amz-Credential=AKIDSHARED%2F" in client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})


def test_failed_mandatory_refresh_raises_unavailable(environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("the credential endpoint is down")

    source = RefreshableCredentials("AKID", "s", "t", datetime.now(UTC) + timedelta(minutes=5), fail, "test")
    environ.setattr("lambda_app.core.aws._load_credentials", lambda: source)

    with pytest.raises(UnavailableError):
        AwsAccess(_settings()).credentials()
    assert "the credential endpoint is down" in caplog.text


def test_debug_log_contains_no_signature_or_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    aws = AwsAccess(_settings(), AwsCredentials("AKID", "verysecret", "sessiontoken"))

    url, _ = _presign(aws)

    assert url.rpartition("=")[2] not in caplog.text
    assert "sessiontoken" not in caplog.text


def test_importing_the_module_loads_neither_boto3_nor_botocore() -> None:
    code = "import sys, lambda_app.core.aws, lambda_app.storage.s3; print(sorted({'boto3', 'botocore'} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "environ",
    [{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/creds"}],
    ids=["environment", "container endpoint"],
)
def test_signing_in_lambda_loads_neither_boto3_nor_a_botocore_session(environ: dict[str, str]) -> None:
    code = (
        "import sys\n"
        "from botocore.utils import ContainerMetadataFetcher\n"
        "from lambda_app.core.aws import AwsAccess\n"
        "from lambda_app.core.settings import Settings\n"
        "response = {'AccessKeyId': 'a', 'SecretAccessKey': 'b', 'Token': 'c', 'Expiration': '2099-01-01T00:00:00Z'}\n"
        "ContainerMetadataFetcher.retrieve_full_uri = lambda *_, **__: response\n"
        "settings = Settings(environment='local', database_url='x', secret_key='x', s3_bucket_name='bucket')\n"
        "AwsAccess(settings).presign(method='GET', url='https://h/k', headers={}, lifetime_seconds=1)\n"
        "print(sorted({'boto3', 'botocore.session', 'botocore.client', 'botocore.loaders'} & set(sys.modules)))\n"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05+01:00",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        1767323045,
        "1767323045",
    ],
)
def test_times_of_responses_are_those_of_botocore(text: Any) -> None:
    parsed = parse_timestamp(text)

    assert parsed == parse_any_timestamp(text)
    assert parsed.utcoffset() is not None


@pytest.mark.parametrize("text", ["", "Z", "2026-13-01T00:00:00Z", None])
def test_malformed_times_of_responses_are_errors_of_botocore(text: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_timestamp(text)
