"""Signatures of the audit log: Ed25519, in the note formats of C2SP (https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint).

`cryptography` is imported on first use: only the sealer and operator commands sign or verify.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

ED25519 = b"\x01"
"""Type of the key in key ids and in the encoded key."""
SEED_PURPOSE = b"we-upload log key v1:"
_CHECKPOINT = re.compile(
    r"(?P<origin>[^\s+]+/[1-9][0-9]{0,7})\n(?P<size>0|[1-9][0-9]{0,17})\n(?P<root>[A-Za-z0-9+/]{43}=)\ntime (?P<time>[0-9T:.-]+Z)\n\n"
)
_SIGNATURE_LINE = re.compile(r"— (\S+) (\S+)")


class BadCheckpointError(ValueError):
    """The text is no signed checkpoint of this log. The message gives the reason."""


@dataclass(frozen=True, slots=True)
class LogVerifier:
    """A public key of the log and the name for which it signs, which is the origin of its checkpoints."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of the hash of name and key, which stand in each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    def render(self) -> str:
        """Return the key in the text format of signed notes (vkey)."""
        return f"{self.name}+{self.key_id.hex()}+{_encode(ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey. Raises BadCheckpointError."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = _decode(encoded)
        if len(key) != 33 or key[:1] != ED25519:
            raise BadCheckpointError("not an Ed25519 key in the format name+id+key")
        verifier = cls(name, key[1:])
        if verifier.render() != text or key_id != verifier.key_id.hex():
            raise BadCheckpointError("the key does not match its id")
        return verifier

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether the signature covers the text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class LogSigner:
    """The private key of the log."""

    seed: bytes = field(repr=False)

    @classmethod
    def from_secret(cls, secret: str) -> Self:
        """Derive the key from a secret of at least 256 random bits, so that Secrets Manager can generate it."""
        return cls(hashlib.sha256(SEED_PURPOSE + secret.strip().encode()).digest())

    def verifier(self, name: str) -> LogVerifier:
        """Return the public key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return LogVerifier(name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, checkpoint: "Checkpoint") -> str:
        """Return the checkpoint as a signed note."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        text = checkpoint.render()
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{text}\n— {checkpoint.origin} {_encode(self.verifier(checkpoint.origin).key_id + signature)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The root of a tree of `size` leaves. The origin names the log and its era."""

    origin: str
    size: int
    root: bytes
    sealed_at: datetime

    @property
    def era(self) -> int:
        """The era, the last part of the origin."""
        return int(self.origin.rpartition("/")[2])

    def render(self) -> str:
        """Return the text that is signed. The time is an extension line."""
        return (
            f"{self.origin}\n{self.size}\n{_encode(self.root)}\ntime {self.sealed_at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}\n"
        )


def log_origin(bucket: str, era: int) -> str:
    """Return the origin of the checkpoints of an era. Bucket names are unique in the world."""
    return f"we-upload/{bucket}/{era}"


def open_checkpoint(note: str, verifiers: Sequence[LogVerifier]) -> Checkpoint:
    """Verify a signed note with one of the keys and return its checkpoint. Raises BadCheckpointError."""
    text, separator, signatures = note.partition("\n\n")
    checkpoint = parse_checkpoint(note)
    for line in signatures.splitlines() if separator else []:
        match = _SIGNATURE_LINE.fullmatch(line)
        blob = _decode(match[2]) if match else b""
        for verifier in verifiers:
            is_theirs = match is not None and match[1] == verifier.name == checkpoint.origin and blob[:4] == verifier.key_id
            if is_theirs and verifier.verifies(text + "\n", blob[4:]):
                return checkpoint
    raise BadCheckpointError("the checkpoint has no valid signature of a known key")


def parse_checkpoint(note: str) -> Checkpoint:
    """Read the text of a note without verifying its signature. Raises BadCheckpointError."""
    match = _CHECKPOINT.match(note)
    if match is None:
        raise BadCheckpointError("not a checkpoint of this log: it needs an origin with the era, a size, a root and a time")
    try:
        sealed_at = datetime.fromisoformat(match["time"])
    except ValueError as error:
        raise BadCheckpointError("the checkpoint has an invalid time") from error
    root = _decode(match["root"])
    return Checkpoint(match["origin"], int(match["size"]), root, sealed_at)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCheckpointError("invalid base64") from error
    if _encode(data) != text:
        raise BadCheckpointError("invalid base64")
    return data
