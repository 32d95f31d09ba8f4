"""What the tests sent and got that no log may show, and every line that was logged meanwhile."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from lambda_app.core.logs import ROOT, JsonFormatter

SHORTEST_SECRET = 8
"""A shorter text may stand in a log by chance."""
SHAPES = re.compile(
    r"X-Amz-(?:Signature|Credential|Security-Token)"  # presigned addresses
    r"|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"  # JSON Web Tokens
    r"|wup_[A-Za-z0-9_-]{8,}"  # API keys
    r"|\$argon2"
    r"|(?i:bearer )[A-Za-z0-9._-]{8,}"
    r"|postgresql://[^\s\"]*:[^\s\"]+@"
)
"""What a secret looks like, for those that nobody noted."""
WORD = re.compile(r"[a-z_/.: -]+|[0-9a-f:.]*[:.][0-9a-f:.]*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9:]+))?")
"""A word of ours, such as a status or a media type, a time and a source address stand in logs rightly; so does an id."""


class LogWatch(logging.Handler):
    """Keeps every line, as it is written, and every text that passed between the tests' clients and the API."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter())
        self._last: logging.LogRecord | None = None
        self.lines: list[str] = []
        self.texts: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, once: until the logs are configured our own loggers tell everybody else's too."""
        if record is not self._last:
            self._last = record
            self.lines.append(self.format(record))

    def note(self, *, path: str, headers: Any, body: bytes) -> None:
        """Keep what one message carried: credentials, and every text of its body that is no id."""
        for name in ("authorization", "cookie", "set-cookie", "x-share-pass"):
            self.texts.update(part for part in re.split(r"[\s=;,]+", headers.get(name, "")) if len(part) >= SHORTEST_SECRET)
        self.texts.update(part for part in re.split(r"[/?&=]", path) if len(part) >= 20 and not _is_id(part))
        if body:
            self.texts.update(_texts(body, headers.get("content-type", "")))

    def findings(self) -> list[str]:
        """Return the lines with something that must not be there, and what it is."""
        found = []
        for line in self.lines:
            shape = SHAPES.search(line)
            shown = shape[0] if shape else next((text for text in self.texts if _rendered(text) in line), None)
            if shown is not None:
                found.append(f"{shown!r} in {line}")
        return found

    def forget(self) -> None:
        """Begin anew."""
        self.lines.clear()
        self.texts.clear()


WATCH = LogWatch()


def start_watching() -> None:
    """Listen to our own loggers, which keep to themselves, and to everybody else's."""
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
        # What a problem document says is ours; the other members of an answer are the users'.
        for name, member in value.items():
            if name not in {"title", "detail", "request_id", "code", "type", "status"} and not name.endswith(("_at", "_id", "_by")):
                yield from _leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member)


def _is_id(text: str) -> bool:
    # The key of an object is one, behind its prefix.
    try:
        UUID(text.rpartition("/")[2])
    except ValueError:
        return False
    return True


def _rendered(text: str) -> str:
    # As it would stand in a line of JSON.
    return json.dumps(text)[1:-1]
