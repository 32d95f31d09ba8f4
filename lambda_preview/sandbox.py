"""Runs the decoder of one file: a child process without credentials, with limits of time, memory and bytes."""

import json
import os
import selectors
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.limits import (
    BLOCK_BYTES,
    LARGE_MAX_BYTES,
    LARGE_PIXELS,
    READ_LIMIT_BYTES,
    SMALL_MAX_BYTES,
    SMALL_PIXELS,
    TIME_LIMIT_SECONDS,
)
from lambda_preview.pipes import FAILED, HEADER, LENGTH, READ, RENDERED, Rendered

PACKAGES = Path(__file__).resolve().parents[1]
FACTS_MAX_BYTES = 4096
BODY_MAX_BYTES = 2 * LENGTH.size + FACTS_MAX_BYTES + SMALL_MAX_BYTES + LARGE_MAX_BYTES
PASSED_VARIABLES = ("LD_LIBRARY_PATH",)
"""All that the child inherits of the environment: Lambda's Python needs its libraries."""
_START = "import sys; sys.path.insert(0, sys.argv[1]); from lambda_preview.decoder import main; main(int(sys.argv[2]))"
_WEBP = (b"RIFF", b"WEBP")

Fetch = Callable[[int, int], bytes]
"""Returns the bytes of the file at an offset, with a length."""


def render(size_bytes: int, fetch: Fetch, *, time_limit_seconds: float = TIME_LIMIT_SECONDS) -> Rendered:
    """Render the file of `size_bytes`. Raises PreviewFailedError, and what `fetch` raises."""
    environment = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    command = [sys.executable, "-I", "-B", "-c", _START, str(PACKAGES), str(size_bytes)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/", start_new_session=True
    )
    try:
        return _Conversation(child, size_bytes, fetch, deadline=monotonic() + time_limit_seconds).run()
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


class _Conversation:
    """Answers the reads of the child until it reports a result. Any other message is a failure."""

    def __init__(self, child: "subprocess.Popen[bytes]", size_bytes: int, fetch: Fetch, *, deadline: float) -> None:
        if child.stdin is None or child.stdout is None:
            raise ValueError("the child needs pipes")
        self._input, self._output = child.stdin.fileno(), child.stdout.fileno()
        # An answer is larger than the pipe: a write must not wait for a child that does not read.
        os.set_blocking(self._input, False)
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._deadline = deadline
        self._left_bytes = READ_LIMIT_BYTES

    def run(self) -> Rendered:
        while True:
            kind, offset, length = HEADER.unpack(self._receive(HEADER.size))
            if kind == READ:
                self._answer(offset, length)
            elif kind == RENDERED and length <= BODY_MAX_BYTES:
                return _rendered(self._receive(length))
            elif kind == FAILED and length <= FACTS_MAX_BYTES:
                raise PreviewFailedError(_reason(self._receive(length)))
            else:
                raise PreviewFailedError(Reason.BROKEN)

    def _answer(self, offset: int, length: int) -> None:
        self._left_bytes -= length
        if not 0 < length <= BLOCK_BYTES or offset + length > self._size_bytes or self._left_bytes < 0:
            raise PreviewFailedError(Reason.BROKEN)
        content = self._fetch(offset, length)
        try:
            self._send(LENGTH.pack(len(content)) + content)
        except BrokenPipeError as error:
            raise PreviewFailedError(Reason.OUT_OF_LIMITS) from error

    def _send(self, content: bytes) -> None:
        left = memoryview(content)
        with selectors.DefaultSelector() as selector:
            selector.register(self._input, selectors.EVENT_WRITE)
            while left:
                self._wait(selector)
                left = left[os.write(self._input, left) :]

    def _receive(self, length: int) -> bytes:
        content = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while len(content) < length:
                self._wait(selector)
                chunk = os.read(self._output, length - len(content))
                if not chunk:
                    # It was killed, or crashed.
                    raise PreviewFailedError(Reason.OUT_OF_LIMITS)
                content += chunk
        return bytes(content)

    def _wait(self, selector: selectors.BaseSelector) -> None:
        """Wait until the pipe is ready. Raises PreviewFailedError at the deadline."""
        left_seconds = self._deadline - monotonic()
        if left_seconds <= 0 or not selector.select(left_seconds):
            raise PreviewFailedError(Reason.OUT_OF_LIMITS)


def _reason(body: bytes) -> Reason:
    try:
        return Reason(body.decode(errors="replace"))
    except ValueError:
        return Reason.BROKEN


def _rendered(body: bytes) -> Rendered:
    """Return the checked result: two WebP images within the limits, and numbers."""
    try:
        (facts_length,), (small_length,) = LENGTH.unpack(body[:4]), LENGTH.unpack(body[4:8])
        facts = json.loads(body[8 : 8 + facts_length])
        small = body[8 + facts_length : 8 + facts_length + small_length]
        large = body[8 + facts_length + small_length :]
        rendered = Rendered(
            width=_number(facts["width"], 10**6),
            height=_number(facts["height"], 10**6),
            small=_webp(small, SMALL_MAX_BYTES),
            large=_webp(large, LARGE_MAX_BYTES),
            small_size=_size(facts["small_size"], SMALL_PIXELS),
            large_size=_size(facts["large_size"], LARGE_PIXELS),
            duration_seconds=None if facts["duration_seconds"] is None else min(max(0.0, float(facts["duration_seconds"])), 1e9),
            page_count=None if facts["page_count"] is None else _number(facts["page_count"], 10**9),
        )
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PreviewFailedError(Reason.BROKEN) from error
    return rendered


def _number(value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError("not a number in the range")
    return value


def _size(value: Any, most: int) -> tuple[int, int]:
    width, height = value
    return _number(width, most), _number(height, most)


def _webp(content: bytes, max_bytes: int) -> bytes:
    if len(content) > max_bytes or (content[:4], content[8:12]) != _WEBP:
        raise ValueError("not a WebP image in the limits")
    return content
