"""`python -m tests.infra.record_counts`: record the number of resources of each type, after an intended change."""

import json
import tempfile
from collections import Counter
from pathlib import Path

from aws_cdk import App

from infra.app import add_stacks
from infra.config import stage_config
from infra.package.artifact import Artifact
from tests.infra.conftest import ROOT
from tests.infra.test_checks import COUNTS, SETTINGS


def main() -> None:
    """Synthesise every set of settings and write the counts."""
    counts: dict[str, dict[str, int]] = {}
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    for name, settings in sorted(SETTINGS.items()):
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "package.zip"
            package.touch()
            app = App(context=context | settings, outdir=folder)
            artifact, config = Artifact(package, "0" * 64, "arm64", "3.13"), stage_config(app.node.try_get_context)
            stage = add_stacks(app, config, artifact, artifact if config.makes_previews else None)
            app.synth()
            kinds = [
                part["Type"]
                for stack in stage.stacks
                for part in json.loads((Path(folder) / stack.template_file).read_text())["Resources"].values()
            ]
            counts[name] = dict(sorted(Counter(kinds).items()))
    COUNTS.write_text(json.dumps(counts, indent=2) + "\n")


if __name__ == "__main__":
    main()
