"""The Lambda entry point that rotates signing keys in S3, invoked every 30 days. It does not connect to the database.

Secrets Manager rotates keys that it has itself (`rotate_signing_key`).
"""

import logging
from typing import Any

from lambda_app.core.aws import AwsAccess
from lambda_app.core.logs import configure_logs
from lambda_app.core.security.keys import KeyRing
from lambda_app.core.settings import Settings
from lambda_app.storage.stored_keys import StoredKeys

logger = logging.getLogger(__name__)


def handler(_event: dict[str, Any] | None, _context: Any) -> dict[str, str]:
    """Rotate the keys and return the id of the one that signs now. Raises UnavailableError, and ValueError for a key that is not in S3."""
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    if settings.secret_key_arn is None:
        raise ValueError("Set SECRET_KEY_ARN")
    current = rotate(StoredKeys(AwsAccess(settings)), settings.secret_key_arn)
    logger.info("rotated the signing keys", extra={"fields": {"kid": current}})
    return {"current": current}


def rotate(keys: StoredKeys, arn: str) -> str:
    """Replace the document with its rotation: the next key signs, the current one is still accepted. Return the id of the current key."""
    stored = keys.get(arn)
    ring = KeyRing.parse(stored.value).rotated()
    keys.replace(arn, stored, value=ring.render())
    return ring.current.kid
