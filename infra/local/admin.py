"""`make admin ARGS="..."`: run the operator command with the settings of the instance that `make run` started."""

import json
import os
import sys
from typing import NoReturn

from infra.local.processes import LocalError, base_environment
from infra.local.state import CHECKOUT, Folders, is_locked


def instance_environment(folders: Folders) -> dict[str, str]:
    """Return the environment of the running instance. Raises LocalError when none runs from the folder."""
    if not is_locked(folders.lock) or not folders.environment.exists():
        raise LocalError(f"No instance is running from {folders.root}. Start it first, in another terminal: make run")
    return {**base_environment(), **json.loads(folders.environment.read_text())}


def main() -> NoReturn:
    """Replace this process by the operator command."""
    try:
        environment = instance_environment(Folders.from_environment())
    except LocalError as error:
        sys.exit(str(error))
    except PermissionError as error:
        sys.exit(f"{error.filename}: permission denied. Run make admin as the user who runs make run.")
    os.chdir(CHECKOUT)
    arguments = sys.argv[1:] or ["--help"]
    os.execve(sys.executable, [sys.executable, "-m", "lambda_app.cli", *arguments], environment)  # noqa: S606  # our own command


if __name__ == "__main__":
    main()
