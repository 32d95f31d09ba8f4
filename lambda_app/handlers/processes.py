"""The services that a Lambda process keeps between invocations."""

from functools import cache

from lambda_app.core.aws import AwsAccess
from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.factory import Services

WORKER_READ_TIMEOUT_SECONDS = 60.0
"""Longest wait for a response of AWS in a worker. S3 needs long to complete a multipart upload with thousands of parts."""


@cache
def process_services() -> Services:
    """Return the services of this process, created from its environment on first use. They connect on first use, too."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Services.build(settings)


@cache
def worker_services() -> Services:
    """Return the services of a worker process that transfers large bodies. It waits longer for AWS than the API does."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Services.build(settings, AwsAccess(settings, read_timeout_seconds=WORKER_READ_TIMEOUT_SECONDS))
