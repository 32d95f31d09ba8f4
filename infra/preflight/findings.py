"""What a check found, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`error`: the deployment would fail, or the stage would not work. `warning`: it would work with a limit. `unknown`: not checked."""

    OK = "ok"
    WARNING = "warning"
    UNKNOWN = "unknown"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One result of one check. `remedy` is empty if there is nothing to do."""

    level: Level
    check: str
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """A check that passed."""
    return Finding(Level.OK, check, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """A limit that the operator should know."""
    return Finding(Level.WARNING, check, message, remedy)


def error(check: str, message: str, remedy: str) -> Finding:
    """A reason why the deployment would fail, or the stage would not work."""
    return Finding(Level.ERROR, check, message, remedy)
