"""Set up the virtual environments of this checkout; run by a bare Python, so it uses the standard library only.

There is one pair for each Python version, side by side: a change of `PYTHON=` rebuilds nothing.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
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
    """An environment that holds exactly what its lock file says."""

    folder: Path
    lock: Path

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    def is_current(self) -> bool:
        """Whether it was made whole, by this Python, from this lock file."""
        stamp = self.folder / STAMP
        return stamp.exists() and stamp.read_text() == self._fingerprint() and self.interpreter.exists()

    def make(self) -> None:
        """Make it anew. Raises LocalError when the packages cannot be had."""
        name = f"{self.lock.parent.name}/{self.lock.name}"
        print(f"Setting up {self.folder.name} from {name} (half a minute or so) ...", flush=True)
        started_at = time.monotonic()
        shutil.rmtree(self.folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(self.folder)], "The virtual environment could not be made.")
        # The lock is complete, so pip has nothing to resolve; the hashes make it refuse anything but what was locked.
        command = [str(self.interpreter), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "-r", str(self.lock)]
        advice = "The first set-up needs a package index: check the network, or the index that `pip config list` shows."
        _run(command, f"The packages of {name} could not be installed. {advice}")
        (self.folder / STAMP).write_text(self._fingerprint())
        print(f"... done in {time.monotonic() - started_at:.0f} s", flush=True)

    def _fingerprint(self) -> str:
        return f"{sys.version}\n{sys.base_prefix}\n{hashlib.sha256(self.lock.read_bytes()).hexdigest()}\n"


APPLICATION = VirtualEnvironment(CHECKOUT / f".venv-{VERSION}", CHECKOUT / "requirements/dev.txt")
EMULATOR = VirtualEnvironment(CHECKOUT / f".venv-emulator-{VERSION}", CHECKOUT / "requirements/emulator.txt")
"""Apart from ours, because the emulator pins its own version of botocore."""


def main() -> None:
    """Make what is missing or out of date."""
    if all(environment.is_current() for environment in (APPLICATION, EMULATOR)):
        return
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise LocalError(f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: sudo apt install {package}")
    with exclusive_lock(CHECKOUT / ".local" / "setup.lock", refusal="Process {pid} is setting this checkout up already; wait for it."):
        for environment in (APPLICATION, EMULATOR):
            if not environment.is_current():
                environment.make()


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
            # Before it gives up, pip warns about each of many attempts.
            last_words = [line for line in lines if line.startswith("ERROR")] or lines[-TAIL_LINES:]
            raise LocalError(f"{problem}\nIt said:\n{''.join(last_words).rstrip()}")


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
        sys.exit("Interrupted; the next run starts the set-up again.")
