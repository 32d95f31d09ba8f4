"""The bases of request and response models."""

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """What a caller sends: an unknown field is a mistake worth hearing about."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """What we answer, read from the attributes of a row."""

    model_config = ConfigDict(from_attributes=True)
