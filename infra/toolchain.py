"""Set up the tools for deployment, deployment tests and browser tests. Uses the standard library only.

Development of the API does not need them, so they are separate: the CDK alone takes half a gigabyte.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from infra.local.bootstrap import VERSION, VirtualEnvironment, writable_checkout
from infra.local.processes import LocalError
from infra.local.state import CHECKOUT, exclusive_lock

INFRA = VirtualEnvironment(CHECKOUT / f".venv-infra-{VERSION}", CHECKOUT / "requirements/infra.txt")
"""The CDK, its checks, and the dependencies of the application's tests."""
RUNTIME = VirtualEnvironment(CHECKOUT / f".venv-runtime-{VERSION}", CHECKOUT / "requirements/runtime.txt")
"""Lambda's runtime client and AWS's runtime interface emulator, separate so that the package cannot use their dependencies."""

RUNTIME_EMULATOR = RUNTIME.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages/samcli/local/rapid"

BROWSER = CHECKOUT / "tests" / "e2e" / "browser"
"""Folder of the npm packages that contain the headless browser and its driver."""
NODE_MINIMUM = 20


def main(wanted: str = "deployment") -> None:
    """Create or update the tools for `deployment` or `browser`. Raises LocalError with what to do."""
    refusal = "Process {pid} is installing the same tools; wait until it has finished."
    with writable_checkout(), exclusive_lock(CHECKOUT / ".local" / "toolchain.lock", refusal=refusal):
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
        raise LocalError(f"npm was not found. To install {name}, install Node.js {NODE_MINIMUM} or newer first.")
    print(f"Installing {name} ...", flush=True)  # noqa: T201 - progress for the developer at the terminal
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
        sys.exit("Interrupted. Run the command again to start over.")
