"""Set up the virtual environments of this checkout. Uses the standard library only.

Each Python version has its own pair, so that a change of `PYTHON=` rebuilds nothing.
"""

import errno
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.processes import LocalError
from infra.local.state import CHECKOUT, exclusive_lock

VERSION = f"py{sys.version_info.major}{sys.version_info.minor}"
PROGRESS_SECONDS = 10
TAIL_LINES = 6
STAMP = "we-upload.stamp"


@dataclass(frozen=True)
class VirtualEnvironment:
    """An environment with exactly the packages of its lock file."""

    folder: Path
    lock: Path

    @property
    def interpreter(self) -> Path:
        """The Python of the environment."""
        return self.folder / "bin" / "python"

    def is_current(self) -> bool:
        """Whether the environment is complete and was made by this Python from this lock file."""
        stamp = self.folder / STAMP
        return stamp.exists() and stamp.read_text() == self._fingerprint() and self.interpreter.exists()

    def make(self) -> None:
        """Create the environment again. Raises LocalError when the packages cannot be installed."""
        name = f"{self.lock.parent.name}/{self.lock.name}"
        print(f"Setting up {self.folder.name} from {name} (about 30 s) ...", flush=True)
        started_at = time.monotonic()
        shutil.rmtree(self.folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(self.folder)], "The virtual environment could not be created.")
        # The lock file is complete, so pip resolves nothing. It refuses packages with other hashes.
        command = [str(self.interpreter), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "-r", str(self.lock)]
        advice = "Installation needs a package index: check the network, or the index that `pip config list` shows."
        _run(command, f"The packages of {name} could not be installed. {advice}")
        (self.folder / STAMP).write_text(self._fingerprint())
        print(f"... done in {time.monotonic() - started_at:.0f} s", flush=True)

    def _fingerprint(self) -> str:
        return f"{sys.version}\n{sys.base_prefix}\n{hashlib.sha256(self.lock.read_bytes()).hexdigest()}\n"


APPLICATION = VirtualEnvironment(CHECKOUT / f".venv-{VERSION}", CHECKOUT / "requirements/dev.txt")
EMULATOR = VirtualEnvironment(CHECKOUT / f".venv-emulator-{VERSION}", CHECKOUT / "requirements/emulator.txt")
"""Separate, because the emulator pins its own version of botocore."""


def main() -> None:
    """Create or update the environments that are not current. Raises LocalError."""
    if all(environment.is_current() for environment in (APPLICATION, EMULATOR)):
        return
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise LocalError(f"{sys.executable} cannot create virtual environments. On Debian and Ubuntu: sudo apt install {package}")
    refusal = "Process {pid} is already setting up this checkout; wait until it has finished."
    with writable_checkout(), exclusive_lock(CHECKOUT / ".local" / "setup.lock", refusal=refusal):
        for environment in (APPLICATION, EMULATOR):
            if not environment.is_current():
                environment.make()


@contextmanager
def writable_checkout() -> Iterator[None]:
    """Turn the errors of a checkout without write permission into a LocalError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise LocalError(f"{error.filename}: {error.strerror}. Run make as the owner of this checkout, or in a copy of your own.") from None


def _run(command: list[str], problem: str) -> None:
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while (status := _wait(process)) is None:
                print("... still working", flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        output.seek(0)
        if status != 0:
            lines = output.readlines()
            # pip also prints a warning for each of its many attempts.
            log_tail = [line for line in lines if line.startswith("ERROR")] or lines[-TAIL_LINES:]
            raise LocalError(f"{problem}\nThe command printed:\n{''.join(log_tail).rstrip()}")


def _wait(process: "subprocess.Popen[bytes]") -> int | None:
    try:
        return process.wait(PROGRESS_SECONDS)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    try:
        main()
    except LocalError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the command again to start over.")
