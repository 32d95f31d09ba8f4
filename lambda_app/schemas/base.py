"""Base classes of request and response models."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema


def refuse_null(value: object) -> object:
    """Return the value; raise ValueError for an explicit null in a field that can only be left out."""
    if value is None:
        raise ValueError("must not be null; omit the field to keep its value")
    return value


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """Return the `model_config` of a request model with example bodies for the OpenAPI document. A model inherits those of its base."""
    return ConfigDict(json_schema_extra={"examples": [*bodies]})


class RequestModel(BaseModel):
    """Base of request bodies. Unknown fields are an error, so that misspelled fields are not ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of the model, in which fields that refuse null are not nullable."""
        made: dict[str, Any] = handler.resolve_ref_schema(handler(schema))
        for decorator in cls.__pydantic_decorators__.field_validators.values():
            if getattr(decorator.func, "__func__", decorator.func) is refuse_null:
                for name in decorator.info.fields:
                    made["properties"][name] = _without_null(made["properties"][name])
        return made


class ResponseModel(BaseModel):
    """Base of response bodies, built from the attributes of a row. All fields are always present, also those with a default."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
    return {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | choices[0]
