"""What one Lambda process keeps between its invocations."""

from functools import cache

from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.factory import Services


@cache
def process_services() -> Services:
    """Return the services of this process, built from its environment when they are first asked for; nothing connects yet."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    return Services.build(settings)
