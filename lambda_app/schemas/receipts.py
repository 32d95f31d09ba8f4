"""Models of receipts: events of the audit log with their proofs (docs/security.md, "Receipts")."""

from typing import Literal

from pydantic import BaseModel, Field


class ReceiptField(BaseModel):
    """A field of the event: opened by salt and value, or proven by its hash only."""

    name: str = Field(description="Name of the field, such as `action`.")
    salt: str | None = Field(default=None, description="Base64, 16 bytes.")
    value: str | None = Field(default=None, description="The field hash is the SHA-256 of the salt and `name=value`.")
    hash: str | None = Field(default=None, description="Base64: the field hash of a field that is not opened.")


class ReceiptEvent(BaseModel):
    """An event, its inclusion proof (RFC 9162) and the checkpoint of the proof."""

    fields: list[ReceiptField] = Field(
        description="All fields in their order. The leaf is the SHA-256 of a zero byte and the hashes of all fields."
    )
    index: int = Field(description="Position of the leaf in the tree.")
    proof: list[str] = Field(description="Base64: the hashes of the inclusion proof.")
    checkpoint: str = Field(description="The signed checkpoint (C2SP tlog-checkpoint) that contains the tree size and the root.")


class Receipt(BaseModel):
    """Proof of what the audit log recorded. It can be verified offline; keep it byte for byte."""

    type: Literal["we-upload receipt v1"] = Field(default="we-upload receipt v1", description="Format and version of the receipt.")
    events: list[ReceiptEvent] = Field(
        description="The events that the receipt proves: one for a stored file; for a download, the download and the file."
    )
