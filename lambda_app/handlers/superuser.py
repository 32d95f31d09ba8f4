"""The entry point that makes a superuser, called by hand: from inside the network, where the database is, and nobody else may."""

import logging
import secrets
from typing import Any

from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate

PASSWORD_BYTES = 18
"""144 bits of a password that is replaced at the first sign-in."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """Make the superuser `email` with a random password, and return both; the answer is the only place where the password is.

    Raises ConflictError for an address that has an account, and ValidationError for one that is none.
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
    logger.info("made a superuser", extra={"fields": {"user_id": user.id}})
    return {"email": user.email, "password": password}
