"""Words validation errors for the people who send requests. Pydantic's own messages are written for Python programmers."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Context = Mapping[str, Any]

_TIME = "must be a time with a time zone, such as 2026-01-31T12:00:00Z"
_WHOLE_NUMBER = "must be a whole number"
_ID = "must be an id, such as 6f3c1e1e-0000-4000-8000-000000000000"
_OBJECT = "must be a JSON object"
_BOOLEAN = "must be true or false"

_MESSAGES: dict[str, str | Callable[[Context], str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a known field; remove it",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "string_too_short": lambda context: f"must have at least {_count(context['min_length'], 'character')}",
    "string_too_long": lambda context: f"must have at most {_count(context['max_length'], 'character')}",
    "string_pattern_mismatch": "has an invalid format",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing_size": "is too large",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "greater_than": lambda context: f"must be more than {context['gt']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "less_than": lambda context: f"must be less than {context['lt']}",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "uuid_type": _ID,
    "uuid_parsing": _ID,
    "list_type": "must be a list",
    "too_short": lambda context: f"must have at least {_count(context['min_length'], 'item')}",
    "too_long": lambda context: f"must have at most {_count(context['max_length'], 'item')}",
    "enum": lambda context: f"must be one of: {_choices(context['expected'])}",
    "literal_error": lambda context: f"must be one of: {_choices(context['expected'])}",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_aware": _TIME,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "json_invalid": "is not valid JSON",
    "none_required": "must be null",
}


def validation_message(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a field, as the rest of a sentence that begins with the name of the field."""
    if error["type"] == "value_error":
        # Raised by our own validators, whose messages are written for callers.
        return str(error["msg"]).removeprefix("Value error, ")
    message = _MESSAGES.get(error["type"], "is not valid")
    return message if isinstance(message, str) else message(error.get("ctx") or {})


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _choices(expected: str) -> str:
    # Pydantic lists enum members by their representation: <FileStatus.PENDING: 'pending'>.
    return ", ".join(re.findall(r"'([^']*)'", expected))
