"""A built package, as input for the stacks."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """The zip to deploy, its digest, and the platform it was built for."""

    zip: Path
    digest: str
    architecture: str
    python_version: str

    @classmethod
    def read(cls, folder: Path) -> "Artifact":
        """Return the package that `python -m infra.package` wrote to `folder`.

        Raises FileNotFoundError when there is none; the message names the command to run.
        """
        description = folder / "package.json"
        if not description.is_file():
            raise FileNotFoundError(f"no package in {folder}; run `make package` first")
        fields = json.loads(description.read_text())
        return cls(Path(fields["zip"]), fields["digest"], fields["architecture"], fields["python_version"])
