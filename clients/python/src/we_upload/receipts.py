"""Verify receipts offline: proofs of uploads and downloads, signed by the log of a We-Upload server.

Needs the package `cryptography` for Ed25519; everything else is in the standard library. The format follows RFC 9162 (Merkle tree),
C2SP tlog-checkpoint and C2SP signed-note. Keep a receipt byte for byte: another spelling of the same JSON is refused.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

RECEIPT_TYPE = "we-upload receipt v1"
FIELDS = ("seq", "at", "action", "actor_id", "credential", "subject", "details", "source_address", "request_id")
"""The fields of an event, in the order of their hashes in the leaf."""
CHUNK_BYTES = 1024 * 1024

_CHECKPOINT = re.compile(
    r"(?P<text>(?P<origin>[^\s+]+)\n(?P<size>[1-9][0-9]{0,17})\n(?P<root>[A-Za-z0-9+/]{43}=)\ntime (?P<time>[0-9TZ:.-]+)\n)"
    r"\n— (?P<name>[^\s+]+) (?P<signature>[A-Za-z0-9+/=]+)\n"
)


class ReceiptError(ValueError):
    """The receipt, the key or the file is not what it should be. The message names the fault."""


@dataclass(frozen=True)
class VerifiedEvent:
    """What one event of a receipt proves."""

    action: str
    """`file.available` or `share.downloaded`."""
    at: str
    subject: str
    details: Mapping[str, Any]
    """For `file.available`: filename, size_bytes, sha256 or crc64nvme, and owner_id or file_request_id."""
    log: str
    """The origin of the log that signed the event."""
    sealed_at: str


def verify_receipt(receipt: bytes, keys: str, *, file: Path | None = None) -> list[VerifiedEvent]:
    """Verify a receipt with the public keys of the server, and `file` if given; return what it proves.

    `keys` is the text of `/.well-known/we-upload/log-key`, which should come from another source than the receipt. Raises ReceiptError.
    """
    public_keys = list(_parse_keys(keys))
    document = _parse(receipt)
    events = [_verify_event(event, public_keys) for event in _list(document, "events")]
    if not events:
        raise ReceiptError("the receipt has no event")
    if file is not None:
        _verify_file(file, events)
    return events


def _parse(receipt: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(receipt.decode())
        canonical = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise ReceiptError("the receipt is not JSON") from error
    if not isinstance(document, dict) or set(document) != {"type", "events"} or document["type"] != RECEIPT_TYPE:
        raise ReceiptError(f"not a receipt of the type {RECEIPT_TYPE!r}")
    if canonical != receipt:
        raise ReceiptError("the receipt was changed or formatted again; use the bytes that the server sent")
    return document


def _parse_keys(text: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield name, key id and Ed25519 key of each line."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise ReceiptError("there is no key")
    for line in lines:
        name, _, rest = line.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decode(encoded, "key")
        expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
        if len(key) != 33 or key[:1] != b"\x01" or key_id != expected.hex():
            raise ReceiptError("a key is damaged, or not an Ed25519 key in the format name+id+key")
        yield name, expected, key[1:]


def _verify_event(event: Any, keys: Sequence[tuple[str, bytes, bytes]]) -> VerifiedEvent:
    if not isinstance(event, dict) or set(event) != {"fields", "index", "proof", "checkpoint"}:
        raise ReceiptError("an event lacks a member")
    values, hashes = _open_fields(_list(event, "fields"))
    leaf = hashlib.sha256(b"\x00" + b"".join(hashes)).digest()
    checkpoint = _open_checkpoint(event["checkpoint"], keys)
    proof = [_decode(part, "proof") for part in _list(event, "proof")]
    root = _root(leaf, proof, index=event["index"], size=int(checkpoint["size"]))
    if root != _decode(checkpoint["root"], "root"):
        raise ReceiptError("the event is not in the log: its proof does not lead to the signed root")
    try:
        details = json.loads(values.get("details", "{}"))
        return VerifiedEvent(values["action"], values["at"], values["subject"], details, checkpoint["origin"], checkpoint["time"])
    except (ValueError, KeyError) as error:
        raise ReceiptError("the receipt does not show action, time and subject of its event") from error


def _open_fields(fields: Sequence[Any]) -> tuple[dict[str, str], list[bytes]]:
    values: dict[str, str] = {}
    hashes: list[bytes] = []
    if [field.get("name") if isinstance(field, dict) else None for field in fields] != list(FIELDS):
        raise ReceiptError("the receipt does not have the fields of an event in their order")
    for field in fields:
        name = field["name"]
        if set(field) == {"name", "hash"}:
            hashes.append(_decode(field["hash"], "hash"))
        elif set(field) == {"name", "salt", "value"} and isinstance(field["value"], str):
            values[name] = field["value"]
            hashes.append(hashlib.sha256(_decode(field["salt"], "salt") + f"{name}={values[name]}".encode()).digest())
        else:
            raise ReceiptError(f"the field {name} is neither opened nor hashed")
        if len(hashes[-1]) != 32:
            raise ReceiptError(f"the hash of the field {name} is too short or too long")
    return values, hashes


def _open_checkpoint(note: Any, keys: Sequence[tuple[str, bytes, bytes]]) -> Mapping[str, str]:
    from importlib import import_module

    match = _CHECKPOINT.fullmatch(note) if isinstance(note, str) else None
    if match is None or match["name"] != match["origin"]:
        raise ReceiptError("the checkpoint is damaged")
    try:
        ed25519 = import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
        invalid = import_module("cryptography.exceptions").InvalidSignature
    except ImportError as error:
        raise ReceiptError("Verifying signatures needs the package cryptography: pip install cryptography") from error
    signature = _decode(match["signature"], "signature")
    for name, key_id, key in keys:
        if name == match["name"] and key_id == signature[:4]:
            try:
                ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], match["text"].encode())
            except invalid as error:
                raise ReceiptError("the signature of the checkpoint is wrong") from error
            return match.groupdict()
    raise ReceiptError(f"none of the keys is the one that signed for {match['name']}")


def _root(leaf: bytes, proof: Sequence[bytes], *, index: Any, size: int) -> bytes:
    """Return the root that follows from the proof (RFC 9162, section 2.1.3.2)."""
    if type(index) is not int or not 0 <= index < size:
        raise ReceiptError("the position of the event is outside the log")
    number, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ReceiptError("the proof is too long")
        if number & 1 or number == last:
            root = hashlib.sha256(b"\x01" + sibling + root).digest()
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            root = hashlib.sha256(b"\x01" + root + sibling).digest()
        number, last = number >> 1, last >> 1
    if last != 0:
        raise ReceiptError("the proof is too short")
    return root


def _verify_file(file: Path, events: Sequence[VerifiedEvent]) -> None:
    details = next((event.details for event in events if event.action == "file.available"), None)
    if details is None or not {"sha256", "crc64nvme"} & set(details):
        raise ReceiptError("the receipt has no checksum of the file")
    if file.stat().st_size != details.get("size_bytes"):
        raise ReceiptError("the file does not have the size of the receipt")
    digest, crc = hashlib.sha256(), 0
    needs_crc = "sha256" not in details
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            crc = _crc64nvme(chunk, crc) if needs_crc else 0
    if needs_crc:
        is_same = base64.b64encode(crc.to_bytes(8, "big")).decode() == details["crc64nvme"]
    else:
        is_same = digest.hexdigest() == details["sha256"]
    if not is_same:
        raise ReceiptError("the file differs from the one in the receipt")


@cache
def _crc64nvme_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x9A6C9329AC4BC9B5 if byte & 1 else 0)  # noqa: PLW2901  # the remainder of this byte
        table.append(byte)
    return tuple(table)


def _crc64nvme(data: bytes, crc: int) -> int:
    table = _crc64nvme_table()
    crc ^= 0xFFFFFFFFFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFFFFFFFFFF


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(document[name], list):
        raise ReceiptError(f"{name} must be a list")
    return list(document[name])


def _decode(text: Any, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ReceiptError(f"the {what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise ReceiptError(f"the {what} is not base64")
    return data
