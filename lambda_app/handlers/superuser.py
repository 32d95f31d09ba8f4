"""The Lambda entry point that creates a superuser. Operators invoke it manually, because only functions in the VPC reach the database."""

import logging
import secrets
from typing import Any

from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate

PASSWORD_BYTES = 18
"""144 random bits. The superuser should change the password after the first sign-in."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Create the superuser `email` with a random password and return both. The password is not stored or logged anywhere else.

    Raises ConflictError when the address has an account, ValidationError when it is not a valid address.
    """
    del context
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    services = Services.build(settings)
    try:
        with services.unit_of_work() as session:
            account = UserCreate.model_validate({"email": event.get("email"), "password": password})
            user = services.users(session).create_superuser(account)
    finally:
        services.engine.dispose()
    logger.info("created a superuser", extra={"fields": {"user_id": user.id}})
    return {"email": user.email, "password": password}
