"""What one Lambda process keeps between its invocations."""

from functools import cache

from lambda_app.core.aws import AwsAccess
from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.factory import Services

WORKER_READ_TIMEOUT_SECONDS = 60.0
"""How long the joining of thousands of parts may take S3."""


@cache
def process_services() -> Services:
    """Return the services of this process, built from its environment when they are first asked for; nothing connects yet."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Services.build(settings)


@cache
def worker_services() -> Services:
    """Return the services of a process that moves large bodies: it waits longer for AWS than a caller would."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Services.build(settings, AwsAccess(settings, read_timeout_seconds=WORKER_READ_TIMEOUT_SECONDS))
