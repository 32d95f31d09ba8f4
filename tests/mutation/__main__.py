"""Remove each guard in a copy of the tree and see whether its tests notice: `make mutations`, or with words of the guards' names."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.guards import GUARDS, Guard

CHECKOUT = Path(__file__).parents[2]
LONGEST_SECONDS = 300
COPIED = ("lambda_app", "infra", "tests", "docs", "requirements", "pyproject.toml", "Makefile", "README.md", "CHANGELOG.md", "cdk.json")
TESTS_FAILED = 1
"""pytest's exit status; any other than this and 0 means that the tests were not run."""


def main(words: list[str]) -> int:
    """Try every guard whose name has all of the words; return how many were not missed."""
    chosen = [guard for guard in GUARDS if all(word in guard.name for word in words)]
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="we-upload-mutation-") as name:
        # Under root the database's server runs as somebody else, who has to pass through.
        tree = Path(name)
        tree.chmod(0o711)
        _copy(tree)
        for guard in chosen:
            started_at = time.monotonic()
            is_noticed = _is_noticed(tree, guard)
            if not is_noticed:
                unnoticed.append(guard.name)
            print(f"{'missed ' if is_noticed else 'NOT MISSED'} {time.monotonic() - started_at:5.1f} s  {guard.name}", flush=True)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} guards are missed when they are gone")
    return len(unnoticed)


def _copy(tree: Path) -> None:
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    for environment in CHECKOUT.glob(".venv*"):
        (tree / environment.name).symlink_to(environment)


def _is_noticed(tree: Path, guard: Guard) -> bool:
    path = tree / "lambda_app" / guard.path
    whole = path.read_text()
    path.write_text(whole.replace(guard.line, guard.without))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(f"tests/{test}" for test in guard.tests)]
    try:
        ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    finally:
        path.write_text(whole)
    if ended.returncode not in (0, TESTS_FAILED):
        raise SystemExit(f"The tests of {guard.name!r} could not be run:\n{ended.stdout[-3000:]}{ended.stderr[-1000:]}")
    return ended.returncode == TESTS_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
