"""The messages between the worker and its decoder, over two pipes. The worker trusts none of them."""

import json
import os
import struct
from dataclasses import dataclass

READ, RENDERED, FAILED = 1, 2, 3
"""The decoder's messages: a read of the file, the finished preview, the reason of a failure."""
HEADER = struct.Struct(">BQI")
"""Kind of a message, the offset of a read, and the length of what follows or is wanted."""
LENGTH = struct.Struct(">I")
"""Length of the bytes that answer a read."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished preview: two WebP images and what the file is. Sizes in pixels, as displayed."""

    width: int
    height: int
    small: bytes
    large: bytes
    small_size: tuple[int, int]
    large_size: tuple[int, int]
    duration_seconds: float | None = None
    page_count: int | None = None

    def encode(self) -> bytes:
        """Return the message's body."""
        facts = {
            "width": self.width,
            "height": self.height,
            "small_size": self.small_size,
            "large_size": self.large_size,
            "duration_seconds": self.duration_seconds,
            "page_count": self.page_count,
        }
        head = json.dumps(facts).encode()
        return LENGTH.pack(len(head)) + LENGTH.pack(len(self.small)) + head + self.small + self.large


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes to a pipe."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def read_exactly(descriptor: int, length: int) -> bytes:
    """Read exactly this many bytes from a pipe. Raises EOFError when the other side has closed it."""
    content = bytearray()
    while len(content) < length:
        chunk = os.read(descriptor, length - len(content))
        if not chunk:
            raise EOFError
        content += chunk
    return bytes(content)
