"""A package that was built, as the stacks take it."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """The zip to deploy, the digest that names it, and what it was built for."""

    zip: Path
    digest: str
    architecture: str
    python_version: str

    @classmethod
    def read(cls, folder: Path) -> "Artifact":
        """Return the package that `python -m infra.package` left in `folder`.

        Raises FileNotFoundError, saying what to run, when there is none.
        """
        description = folder / "package.json"
        if not description.is_file():
            raise FileNotFoundError(f"there is no package in {folder}: run `make package` first")
        fields = json.loads(description.read_text())
        return cls(Path(fields["zip"]), fields["digest"], fields["architecture"], fields["python_version"])
