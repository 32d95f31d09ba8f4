"""The decoder: a process of its own that reads one file from its worker and writes its preview.

It gives up every right before it decodes: environment, files, network, other processes (`seccomp`), and most memory and time.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from lambda_preview import seccomp
from lambda_preview.failures import PreviewFailedError, Reason
from lambda_preview.formats import SNIFFED_BYTES, Kind, kind_of
from lambda_preview.limits import CPU_LIMIT_SECONDS, MEMORY_LIMIT_BYTES
from lambda_preview.pipes import FAILED, HEADER, LENGTH, READ, RENDERED, Rendered, read_exactly, write_all
from lambda_preview.source import BlockFile

_PR_SET_PDEATHSIG = 1


def main(size_bytes: int) -> NoReturn:
    """Decode the file of `size_bytes` whose bytes the worker sends on request, and end."""
    requests, answers = _own_pipes()
    limit_resources()

    def fetch(offset: int, length: int) -> bytes:
        write_all(requests, HEADER.pack(READ, offset, length))
        (found,) = LENGTH.unpack(read_exactly(answers, LENGTH.size))
        return read_exactly(answers, found)

    try:
        rendered = render(BlockFile(size_bytes, fetch), confine=_confine)
        kind, body = RENDERED, rendered.encode()
    except PreviewFailedError as error:
        kind, body = FAILED, error.reason.encode()
    except MemoryError:
        kind, body = FAILED, Reason.OUT_OF_LIMITS.encode()
    except Exception:  # noqa: BLE001 - a decoder raises anything for a broken file; the process ends here
        kind, body = FAILED, Reason.BROKEN.encode()
    write_all(requests, HEADER.pack(kind, 0, len(body)) + body)
    # Without the destructors of the libraries.
    os._exit(0)


def render(file: BlockFile, *, confine: Callable[[], object]) -> Rendered:
    """Render the file. `confine` is called once the libraries are loaded, before they see a byte. Raises PreviewFailedError."""
    found = kind_of(file.read(SNIFFED_BYTES))
    file.seek(0)
    if found is None:
        raise PreviewFailedError(Reason.UNSUPPORTED)
    kind, image_format = found
    from lambda_preview import images

    images.prepare(image_format)
    if kind is Kind.PDF:
        from lambda_preview import documents

        confine()
        return documents.render_document(file)
    if kind in (Kind.MOV, Kind.MATROSKA):
        from lambda_preview import videos

        videos.prepare()
        confine()
        return videos.render_video(file, kind)
    confine()
    return images.render_image(file, image_format)


def limit_resources() -> None:
    """Limit memory and processor time; allow no written file, no core dump and no new process."""
    if sys.platform == "linux":
        # The worker may be killed while we decode.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_SECONDS, CPU_LIMIT_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _confine() -> None:
    if not seccomp.install() and sys.platform == "linux":
        raise PreviewFailedError(Reason.UNCONFINED)


def _own_pipes() -> tuple[int, int]:
    """Return the pipes to and from the worker. Standard input and output lead nowhere, so that a library cannot disturb the messages."""
    requests, answers = os.dup(1), os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    return requests, answers
