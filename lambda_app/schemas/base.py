"""Base classes of request and response models."""

from pydantic import BaseModel, ConfigDict


def refuse_null(value: object) -> object:
    """Return the value; raise ValueError for an explicit null in a field that can only be left out."""
    if value is None:
        raise ValueError("must not be null; omit the field to keep its value")
    return value


class RequestModel(BaseModel):
    """Base of request bodies. Unknown fields are an error, so that misspelled fields are not ignored."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """Base of response bodies, built from the attributes of a row."""

    model_config = ConfigDict(from_attributes=True)
