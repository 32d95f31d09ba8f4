"""The bases of request and response models."""

from pydantic import BaseModel, ConfigDict


def refuse_null(value: object) -> object:
    """Raise ValueError for an explicit null where an absent field means "as it is"."""
    if value is None:
        raise ValueError("cannot be null; leave it out to keep it")
    return value


class RequestModel(BaseModel):
    """What a caller sends: an unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """What we answer, read from the attributes of a row."""

    model_config = ConfigDict(from_attributes=True)
