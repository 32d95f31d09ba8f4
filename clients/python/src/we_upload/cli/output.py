"""What the command prints: results on standard output, progress on standard error if it is a terminal."""

import json
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from we_upload.cli.parser import EXIT_NOT_SIGNED_IN, EXIT_USAGE
from we_upload.progress import Progress, State, Transfer

REFRESH_SECONDS = 0.15
LINES_MAX = 8
BAR_WIDTH = 20
_UNITS = ("B", "kB", "MB", "GB", "TB")


class UsageError(Exception):
    """The command line or its input is not usable; the message tells what to change."""

    status = EXIT_USAGE


class NoCredentialsError(UsageError):
    """The user has not signed in to the server."""

    status = EXIT_NOT_SIGNED_IN


def size_text(count: float) -> str:
    """Return a number of bytes for people, in powers of 1,000: `1.2 GB`."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def time_text(seconds: float) -> str:
    """Return a duration for people: `0:07`, `2:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def count_text(count: int, noun: str = "file") -> str:
    """Return a number with its noun: `1 file`, `2 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return a text that cannot change the terminal: control characters, direction marks and bytes outside UTF-8 become `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)


def print_lines(lines: list[str]) -> None:
    """Print the result."""
    sys.stdout.write("".join(f"{printable_line(line)}\n" for line in lines))


def printable_line(line: str) -> str:
    """Return a line of result with its tabs kept."""
    return "\t".join(printable(field) for field in line.split("\t"))


def print_json(value: Any) -> None:
    """Print the result as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def say(message: str) -> None:
    """Print a message for people, on standard error."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


class Display:
    """Shows the progress of transfers on standard error while its `with` block runs, if that is a terminal."""

    def __init__(self, progress: Progress, verb: str) -> None:
        self._progress = progress
        self._verb = verb
        self._is_shown = sys.stderr.isatty()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lines = 0
        self._began = time.monotonic()
        self._can_block = (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"

    def __enter__(self) -> Self:
        if self._is_shown:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._is_shown:
            return
        self._ended.set()
        self._thread.join()
        self._write([])
        if kind is None and self._progress.transfers:
            self._write([self._summary()])

    def _run(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            self._write(self.lines(shutil.get_terminal_size().columns))

    def _write(self, lines: list[str]) -> None:
        # Move to the first line of the last drawing and erase from there.
        start = f"\x1b[{self._lines}F" if self._lines else ""
        sys.stderr.write(f"{start}\x1b[J" + "".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        self._lines = len(lines)

    def lines(self, columns: int) -> list[str]:
        """Return the drawing: one line for each active file, and one for all."""
        active = self._progress.active()
        lines = [self._line(transfer, columns) for transfer in active[:LINES_MAX]]
        if len(active) > LINES_MAX:
            lines.append(f"  and {len(active) - LINES_MAX} more")
        moved, size = self._progress.totals()
        rate = self._progress.bytes_per_second()
        count = len(self._progress.transfers)
        parts = [f"{self._progress.done_count:,} of {count_text(count)}", f"{size_text(moved)} of {size_text(size)}"]
        if size:
            parts.append(f"{100 * moved // size} %")
        if rate > 0 and size > moved:
            parts += [f"{size_text(rate)}/s", f"{time_text((size - moved) / rate)} left"]
        if self._progress.failed_count:
            parts.append(f"{self._progress.failed_count} failed")
        return [*lines, "  ".join(parts)[: columns - 1]]

    def _line(self, transfer: Transfer, columns: int) -> str:
        share = transfer.moved_bytes / transfer.size_bytes if transfer.size_bytes else 1.0
        filled = min(BAR_WIDTH, max(0, round(share * BAR_WIDTH)))
        full, empty = ("█", "░") if self._can_block else ("#", ".")
        state = {State.HASHING: "reading", State.CHECKING: "checking"}.get(transfer.state, f"{min(100, int(100 * share)):3} %")
        tail = f" {full * filled}{empty * (BAR_WIDTH - filled)} {state:>8}  {size_text(transfer.size_bytes):>8}"
        room = max(8, columns - len(tail) - 1)
        name = printable(transfer.name)
        if len(name) > room:
            name = f"…{name[-room + 1 :]}" if self._can_block else name[-room:]
        return f"{name:<{min(room, 48)}}{tail}"[: columns - 1]

    def _summary(self) -> str:
        seconds = time.monotonic() - self._began
        moved = self._progress.moved_now
        text = f"{self._verb} {count_text(self._progress.done_count)}, {size_text(moved)} in {time_text(seconds)}"
        if seconds > 1:
            text += f" ({size_text(moved / seconds)}/s)"
        return text + (f"; {self._progress.failed_count} failed" if self._progress.failed_count else "")
