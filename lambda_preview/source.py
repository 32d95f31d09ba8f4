"""The file that the decoder reads, as a Python file object. Its bytes come from the worker, block by block."""

import io
from collections import OrderedDict
from collections.abc import Callable

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.limits import BLOCK_BYTES, CACHED_BLOCKS, READ_LIMIT_BYTES


class BlockFile(io.RawIOBase):
    """A file of `size_bytes`. `fetch(offset, length)` returns its bytes; at most READ_LIMIT_BYTES are fetched in all."""

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._fetched_bytes = 0
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """The file can be read."""
        return True

    def seekable(self) -> bool:
        """The file has random access."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Change the position. Past the end, reads return nothing."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # narrower than any buffer
        """Read up to the end of the block."""
        left = self._size_bytes - self._position
        if left <= 0 or not len(buffer):
            return 0
        number, start = divmod(self._position, BLOCK_BYTES)
        chunk = self._block(number)[start : start + min(len(buffer), left)]
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def read_whole(self) -> bytes:
        """Return all bytes. Raises PreviewFailedError for a file that is too large."""
        if self._size_bytes > READ_LIMIT_BYTES:
            raise PreviewFailedError(Reason.TOO_LARGE)
        self.seek(0)
        return b"".join(iter(lambda: self.read(BLOCK_BYTES), b""))

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is not None:
            self._blocks.move_to_end(number)
            return block
        offset = number * BLOCK_BYTES
        length = min(BLOCK_BYTES, self._size_bytes - offset)
        self._fetched_bytes += length
        if self._fetched_bytes > READ_LIMIT_BYTES:
            raise PreviewFailedError(Reason.TOO_LARGE)
        block = self._fetch(offset, length)
        self._blocks[number] = block
        while len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return block
