"""Response models."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, get_args

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

import lambda_app.application  # noqa: F401  # imports all models
from lambda_app.schemas.base import ResponseModel

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=13)))


def descendants(model: type[ResponseModel]) -> Iterator[type[ResponseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from descendants(child)


def times() -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields of all response models that contain a time."""
    for model in descendants(ResponseModel):
        for name, field in model.model_fields.items():
            if datetime in (field.annotation, *get_args(field.annotation)) or "datetime.datetime" in str(field.annotation):
                yield f"{model.__name__}.{name}", field


TIMES = dict(times())


def test_response_models_contain_times() -> None:
    assert {"File.created_at", "Share.expires_at", "AuditEvent.at", "User.updated_at"} <= TIMES.keys()


@pytest.mark.parametrize("name", TIMES)
def test_every_time_is_utc_with_microseconds(name: str) -> None:
    field = TIMES[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation

    assert TypeAdapter(kind).dump_json(NOON) == b'"2026-01-30T23:00:00.000000Z"'
