"""Structured logs: one JSON object per line, with the request id. Tokens, passwords, presigned URLs and bodies are never logged."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current request: the one from API Gateway if there is one."""

ROOT = "lambda_app"
"""Parent of all loggers of this package."""

_JSON = json.JSONEncoder(default=str)


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON. The entries of `extra={"fields": {...}}` become members of the object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON line."""
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
        return _JSON.encode(line)


def configure_logs(level: str) -> None:
    """Write the package's logs to standard output. Idempotent."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False  # Lambda's root handler would print every line a second time.
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
    # Otherwise each record looks up the thread, the process and the task, which no line contains.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Mangum logs the path of each request, which may contain a secret token.
    logging.getLogger("mangum").setLevel(logging.WARNING)
