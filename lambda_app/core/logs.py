"""Structured logs: one JSON object a line, with the request id; never a token, a password, a presigned URL or a body."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being served, the one that API Gateway gave it where there is one."""

ROOT = "lambda_app"
"""Every logger of ours is below this one."""


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON; what comes in `extra={"fields": {...}}` becomes members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str) -> None:
    """Send our logs to standard output; safe to call again."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False  # Lambda's own root handler would print every line a second time.
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
    # Mangum logs each request with its path, which may hold a secret.
    logging.getLogger("mangum").setLevel(logging.WARNING)
