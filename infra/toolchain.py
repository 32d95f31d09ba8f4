"""Set up what deploying, testing the deployment, and testing in a browser need, beside the application's environment; run by a bare Python.

Developing the API needs none of it, so it is apart: half a gigabyte for the CDK alone.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from infra.local.bootstrap import VERSION, VirtualEnvironment
from infra.local.processes import LocalError
from infra.local.state import CHECKOUT, exclusive_lock

INFRA = VirtualEnvironment(CHECKOUT / f".venv-infra-{VERSION}", CHECKOUT / "requirements/infra.txt")
"""The CDK and its checks, and all that the tests of the application need."""
RUNTIME = VirtualEnvironment(CHECKOUT / f".venv-runtime-{VERSION}", CHECKOUT / "requirements/runtime.txt")
"""Lambda's runtime client and AWS's emulator of the runtime interface, alone, so that they lend the package nothing."""

RUNTIME_EMULATOR = RUNTIME.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages/samcli/local/rapid"

BROWSER = CHECKOUT / "tests" / "e2e" / "browser"
"""Whose npm packages are the headless browser and what drives it."""
NODE_MINIMUM = 20


def main(wanted: str = "deployment") -> None:
    """Make what is missing or out of date of what is `wanted`: `deployment` or `browser`. Raises LocalError, saying what to do."""
    with exclusive_lock(CHECKOUT / ".local" / "toolchain.lock", refusal="Process {pid} is setting up the same tools; wait for it."):
        if wanted == "browser":
            _install_node_packages(BROWSER, "the browser")
            return
        for environment in (INFRA, RUNTIME):
            if not environment.is_current():
                environment.make()
        _install_node_packages(CHECKOUT, "the CDK's command line")


def _install_node_packages(folder: Path, name: str) -> None:
    stamp = folder / "node_modules" / "we-upload.stamp"
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise LocalError(f"For {name} Node.js {NODE_MINIMUM} or newer with npm is needed, and npm is not on the PATH.")
    print(f"Installing {name} ...", flush=True)  # noqa: T201 - speaks to the developer at the terminal
    finished = subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise LocalError(f"npm could not install the packages of package-lock.json:\n{finished.stderr.strip()[-1000:]}")
    stamp.write_text(wanted)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LocalError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted; the next run starts the set-up again.")
