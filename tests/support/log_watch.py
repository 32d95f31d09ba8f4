"""Detection of secrets in logs: records all messages of the tests' clients and all log lines, and finds secrets in the lines."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from lambda_app.core.logs import ROOT, JsonFormatter

SHORTEST_SECRET = 8
"""In characters. A shorter text can occur in a log line by chance."""
SHAPES = re.compile(
    r"X-Amz-(?:Signature|Credential|Security-Token)"  # presigned addresses
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"  # JSON Web Tokens
    r"|wup_[A-Za-z0-9_-]{8,}"  # API keys
    r"|\$argon2"
    r"|(?i:bearer )[A-Za-z0-9._-]{8,}"
    r"|postgresql://[^\s\"]*:[^\s\"]+@"
)
"""Patterns of secrets, which find also those that were not recorded."""
WORD = re.compile(r"[a-z_/.: -]+|/api/v1/[a-z_/{}-]+|[0-9a-f:.]*[:.][0-9a-f:.]*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9:]+))?")
"""Texts that logs can contain: status values, media types, routes, times and source addresses. Ids are allowed too."""

AUDIT_LEAVES = re.compile(r', "audit_leaves": \["[0-9a-f]{64}"(?:, "[0-9a-f]{64}")*\]')


class LogWatch(logging.Handler):
    """Records every formatted log line, and every text in messages between the tests' clients and the API."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter())
        self._last: logging.LogRecord | None = None
        self.lines: list[str] = []
        self.texts: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Record a line once: until logging is configured, the application's loggers also propagate to the root logger."""
        if record is not self._last:
            self._last = record
            self.lines.append(self.format(record))

    def record(self, *, path: str, headers: Any, body: bytes) -> None:
        """Record the credentials of a message, and every text in its body except ids."""
        for name in ("authorization", "cookie", "set-cookie", "x-share-pass"):
            self.texts.update(part for part in re.split(r"[\s=;,]+", headers.get(name, "")) if len(part) >= SHORTEST_SECRET)
        self.texts.update(part for part in re.split(r"[/?&=]", path) if len(part) >= 20 and not _is_id(part))
        if body:
            self.texts.update(_texts(body, headers.get("content-type", "")))

    def findings(self) -> list[str]:
        """Return the lines that contain a secret, each with the secret."""
        found = []
        for logged in self.lines:
            # The leaf of an audit event is logged and public: superusers list it, receipts prove it.
            line = AUDIT_LEAVES.sub("", logged)
            shape = SHAPES.search(line)
            shown = shape[0] if shape else next((text for text in self.texts if _rendered(text) in line), None)
            if shown is not None:
                found.append(f"{shown!r} in {line}")
        return found

    def clear(self) -> None:
        """Delete everything recorded."""
        self.lines.clear()
        self.texts.clear()


WATCH = LogWatch()


def start_watching() -> None:
    """Add the handler to the application's logger, which does not propagate, and to the root logger."""
    for name in (ROOT, ""):
        logging.getLogger(name).addHandler(WATCH)


def _texts(body: bytes, content_type: str) -> Iterator[str]:
    if "html" in content_type:
        return
    try:
        if "form" in content_type:
            leaves: Iterator[Any] = (value for _, value in parse_qsl(body.decode()))
        else:
            leaves = _leaves(json.loads(body))
        yield from (leaf for leaf in leaves if len(leaf) >= SHORTEST_SECRET and not _is_id(leaf) and not WORD.fullmatch(leaf))
    except (ValueError, RecursionError):
        return


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        # These members are texts of the API; all others are data of users.
        for name, member in value.items():
            if name not in {"title", "detail", "request_id", "code", "type", "status"} and not name.endswith(("_at", "_id", "_by")):
                yield from _leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member)


def _is_id(text: str) -> bool:
    # The key of an object is a prefix and an id.
    try:
        UUID(text.rpartition("/")[2])
    except ValueError:
        return False
    return True


def _rendered(text: str) -> str:
    # As escaped in a JSON log line.
    return json.dumps(text)[1:-1]
