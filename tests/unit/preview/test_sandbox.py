"""What the worker accepts from its decoder, and what the decoder cannot do."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from lambda_preview import sandbox, seccomp
from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.limits import BLOCK_BYTES
from lambda_preview.pipes import HEADER, LENGTH, READ, RENDERED, Rendered
from tests.support import preview_samples as samples

ROOT = Path(__file__).parents[3]
WEBP = b"RIFF\x04\0\0\0WEBP"
CONFINED = """
import fcntl, os, signal, socket, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
from lambda_preview import seccomp
assert seccomp.install()
attempts = {
    "open": lambda: open("/proc/%d/environ" % os.getppid()),
    "list": lambda: os.listdir("/"),
    "stat": lambda: os.stat("/etc/passwd"),
    "connect": lambda: socket.socket(),
    "fork": os.fork,
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "signal-by-pipe": lambda: fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid()),
    "write": lambda: os.open("/tmp/preview-test", os.O_CREAT | os.O_WRONLY),
    "chdir": lambda: os.chdir("/"),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError:
        continue
    os.write(1, name.encode() + b" ")
thread = threading.Thread(target=lambda: os.write(1, b"done"))
thread.start()
thread.join()
"""


def forged(facts: object, small: bytes = WEBP, large: bytes = WEBP) -> bytes:
    head = json.dumps(facts).encode()
    return LENGTH.pack(len(head)) + LENGTH.pack(len(small)) + head + small + large


def facts(**changes: object) -> dict[str, object]:
    sizes: dict[str, object] = {"width": 9, "height": 9, "small_size": [9, 9], "large_size": [9, 9]}
    return {**sizes, "duration_seconds": None, "page_count": None, **changes}


def run_child(monkeypatch: pytest.MonkeyPatch, code: str, *, size_bytes: int = 100, time_limit_seconds: float = 20) -> Rendered:
    monkeypatch.setattr(sandbox, "_START", code)
    return sandbox.render(size_bytes, lambda _, length: b"x" * length, time_limit_seconds=time_limit_seconds)


@pytest.mark.skipif(not seccomp.is_supported(), reason="only Linux has the filter")
def test_confined_process_cannot_leave_its_pipes() -> None:
    finished = subprocess.run([sys.executable, "-I", "-c", CONFINED, str(ROOT)], capture_output=True, timeout=30, check=False)

    assert (finished.stdout, finished.returncode) == (b"done", 0), finished.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_table_of_system_calls_has_one_number_for_each_name(machine: str) -> None:
    numbers = seccomp.allowed_numbers(machine)

    assert len(set(numbers.values())) == len(numbers)


def test_decoder_has_limited_memory_and_writes_no_file(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lambda_preview.decoder import limit_resources; limit_resources()\n"
        "try:\n bytearray(2 * 1024**3)\nexcept MemoryError: print('limited', flush=True)\n"
        "import os, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n os.write(os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY), b'x')\nexcept OSError: print('no file', flush=True)\n"
    )
    command = [sys.executable, "-I", "-c", code, str(ROOT), str(tmp_path / "file")]

    finished = subprocess.run(command, capture_output=True, timeout=30, check=False)

    expected = b"limited\nno file\n" if sys.platform == "linux" else b"no file\n"
    assert finished.stdout == expected, finished.stderr


def test_decoder_inherits_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code = (
        "import os, struct, sys; names = set(os.environ) - {'LD_LIBRARY_PATH', 'LC_CTYPE'}; body = b'broken' if names else b'protected'; "
        "os.write(1, struct.pack('>BQI', 3, 0, len(body)) + body)"
    )

    with pytest.raises(PreviewFailedError) as failed:
        run_child(monkeypatch, code)

    assert failed.value.reason is Reason.PROTECTED


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("import time; time.sleep(60)", Reason.OUT_OF_LIMITS, id="endless"),
        pytest.param("import os; os.abort()", Reason.OUT_OF_LIMITS, id="crash"),
        pytest.param("pass", Reason.OUT_OF_LIMITS, id="silent-end"),
        pytest.param("import os; os.write(1, b'\\xff' * 100)", Reason.BROKEN, id="unknown-message"),
        pytest.param("import os, struct; os.write(1, struct.pack('>BQI', 2, 0, 2**31))", Reason.BROKEN, id="endless-result"),
        pytest.param("import os, struct; os.write(1, struct.pack('>BQI', 3, 0, 5) + b'other')", Reason.BROKEN, id="unknown-reason"),
    ],
)
def test_misbehaving_decoder_is_a_failure(monkeypatch: pytest.MonkeyPatch, code: str, reason: Reason) -> None:
    with pytest.raises(PreviewFailedError) as failed:
        run_child(monkeypatch, code, time_limit_seconds=0.3 if "sleep" in code else 20)

    assert failed.value.reason is reason


def test_decoder_that_does_not_read_the_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    request = HEADER.pack(READ, 0, BLOCK_BYTES)
    code = f"import os, time; os.write(1, {request!r}); time.sleep(5)"

    started_at = monotonic()
    with pytest.raises(PreviewFailedError) as failed:
        run_child(monkeypatch, code, size_bytes=BLOCK_BYTES, time_limit_seconds=0.5)

    assert failed.value.reason is Reason.OUT_OF_LIMITS
    assert monotonic() - started_at < 4


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 101), (90, 11), (2**63, 1), (0, 2**31)])
def test_read_outside_the_file_is_refused(monkeypatch: pytest.MonkeyPatch, offset: int, length: int) -> None:
    request = HEADER.pack(READ, offset, length)

    with pytest.raises(PreviewFailedError) as failed:
        run_child(monkeypatch, f"import os, time; os.write(1, {request!r}); time.sleep(20)")

    assert failed.value.reason is Reason.BROKEN


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(forged(facts(), large=b"<html><script>"), id="markup"),
        pytest.param(forged(facts(), small=b"\x89PNG\r\n\x1a\n"), id="other-format"),
        pytest.param(forged(facts(), small=WEBP + b"\0" * 60_000), id="small-too-large"),
        pytest.param(forged(facts(width=-1)), id="negative-width"),
        pytest.param(forged(facts(width=True)), id="boolean"),
        pytest.param(forged(facts(small_size=[5000, 1])), id="small-too-wide"),
        pytest.param(forged(facts(page_count="many")), id="text-as-number"),
        pytest.param(forged([]), id="list"),
        pytest.param(struct.pack(">II", 2**31, 2**31) + b"{}", id="lengths"),
        pytest.param(LENGTH.pack(30_000) * 2 + b"[" * 30_000, id="deep"),
    ],
)
def test_forged_result_is_a_failure(body: bytes) -> None:
    with pytest.raises(PreviewFailedError) as failed:
        sandbox._rendered(body)

    assert failed.value.reason is Reason.BROKEN


def test_result_survives_the_pipe() -> None:
    rendered = Rendered(width=9, height=8, small=WEBP, large=WEBP, small_size=(9, 8), large_size=(9, 8), duration_seconds=1.5, page_count=2)

    assert sandbox._rendered(rendered.encode()) == rendered
    assert HEADER.unpack(HEADER.pack(RENDERED, 0, len(rendered.encode())))[0] == RENDERED


def test_fetch_error_ends_the_decoder() -> None:
    def fail(_offset: int, _length: int) -> bytes:
        raise ConnectionError("the storage does not respond")

    with pytest.raises(ConnectionError):
        sandbox.render(len(samples.picture()), fail)
