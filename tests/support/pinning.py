"""Detection of protocol messages that pin a client of RDS Proxy to one database connection.

The rules are from the AWS documentation ("Avoiding pinning an RDS Proxy", conditions for RDS for PostgreSQL). In addition, message types
that the application never sends are refused.
"""

import re
from collections.abc import Iterable

from tests.support.wire import Message

STATEMENT_MAX_BYTES = 16 * 1024
"""A longer statement always pins."""
EXPECTED_KINDS = frozenset({"P", "B", "D", "E", "S", "Q", "X", "p", "startup", "request"})
"""Parse, Bind, Describe, Execute, Sync, Query, Terminate, and the messages of the sign-in."""

_RULES = {
    "sets a parameter": r"^\s*(SET|RESET)\b|\bset_config\s*\(",
    "manages prepared statements": r"^\s*(PREPARE|EXECUTE|DEALLOCATE)\b",
    "discards the session's state": r"^\s*DISCARD\b",
    "makes something temporary": r"\bCREATE\b[^;]*?\b(TEMP|TEMPORARY)\b|\bpg_temp\b|\bINTO\s+(TEMP|TEMPORARY)\b",
    "declares a cursor": r"^\s*(DECLARE|FETCH|MOVE|CLOSE)\b",
    "listens": r"^\s*(LISTEN|UNLISTEN)\b",
    "loads a library": r"^\s*LOAD\b",
    "moves a sequence": r"\b(nextval|setval|currval|lastval)\s*\(",
    "takes a lock of the session": r"\bpg_(try_)?advisory_(lock|unlock)\w*\s*\(",
    "copies": r"^\s*COPY\b",
}
_PATTERNS = {reason: re.compile(rule, re.IGNORECASE) for reason, rule in _RULES.items()}
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def why_pinned(message: Message) -> str | None:
    """Return the reason why RDS Proxy would pin the client that sends this message, or None."""
    if message.kind not in EXPECTED_KINDS:
        return f"unexpected message type: {message.kind}"
    if message.name:
        return f"the prepared statement has a name: {message.name}"
    if len(message.sql.encode()) > STATEMENT_MAX_BYTES:
        return f"a statement of more than {STATEMENT_MAX_BYTES} bytes"
    text = _LITERAL.sub("''", message.sql)
    return next((reason for reason, pattern in _PATTERNS.items() if pattern.search(text)), None)


def assert_nothing_pins(messages: Iterable[Message]) -> None:
    """Assert that no message pins its client."""
    pinned = {f"{reason}: {message.sql[:200]}" for message in messages if (reason := why_pinned(message)) is not None}
    assert not pinned, "\n".join(sorted(pinned))
