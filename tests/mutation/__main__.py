"""Remove each guard and check that one of its tests fails: `make mutations`, or with words of the guards' names."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.guards import GUARDS, Guard
from tests.mutation.plugin import VARIABLE

CHECKOUT = Path(__file__).parents[2]
LONGEST_SECONDS = 300
TESTS_FAILED = 1
"""pytest's exit status; any other than this and 0 means that the tests were not run."""


def main(words: list[str]) -> int:
    """Try every guard whose name has all of the words; return how many removals no test found."""
    chosen = [guard for guard in GUARDS if all(word in guard.name for word in words)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = sum(threads.map(_is_found, chosen))
    print(f"Tests found {found} of {len(chosen)} removed guards")
    return len(chosen) - found


def _is_found(guard: Guard) -> bool:
    started_at = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "tests.mutation.plugin"]
    command += [f"tests/{test}" for test in guard.tests]
    environment = os.environ | {VARIABLE: guard.name}
    ended = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    if ended.returncode not in (0, TESTS_FAILED):
        raise SystemExit(f"The tests of {guard.name!r} could not be run:\n{ended.stdout[-3000:]}{ended.stderr[-1000:]}")
    is_found = ended.returncode == TESTS_FAILED
    failed = [line.removeprefix("FAILED ") for line in ended.stdout.splitlines() if line.startswith("FAILED ")]
    seconds = time.monotonic() - started_at
    print(f"{'found' if is_found else 'NOT FOUND'} {seconds:5.1f} s  {guard.name}: {', '.join(failed)}", flush=True)
    return is_found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
