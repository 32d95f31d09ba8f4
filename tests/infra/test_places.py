"""The operator's database of places: a layer of the functions that show places, checked before the deployment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from infra.config import PLACES_MAX_BYTES, STAGES, ConfigError
from tests.infra.conftest import ROOT, Synthesised
from tests.support.places import write_places


def test_database_is_a_layer_of_the_functions_that_show_places(synthesise: Callable[..., Synthesised], tmp_path: Path) -> None:
    files = {"places_file": str(write_places(tmp_path / "mine.mmdb")), "brand_logo": str(ROOT / "web" / "src" / "assets" / "logo.svg")}
    stacks = synthesise(stage="small", **files)
    functions = {part["Handler"]: part for part in stacks.of_type("AWS::Lambda::Function")}
    layers = {handler: len(part["Layers"]) for handler, part in functions.items() if "Layers" in part}
    named = {
        handler: part["Environment"]["Variables"]["PLACES_FILE"]
        for handler, part in functions.items()
        if "PLACES_FILE" in part.get("Environment", {}).get("Variables", {})
    }

    # The API has the logo too.
    assert layers == {"lambda_app.main.handler": 2, "lambda_app.handlers.seal.handler": 1}
    assert named == dict.fromkeys(layers, "/opt/places.mmdb")
    assert [path.name for path in stacks.assembly.glob("asset.*/*.mmdb")] == ["places.mmdb"]


def test_stage_has_no_places_by_default(small: Synthesised) -> None:
    functions = small.of_type("AWS::Lambda::Function")

    assert not [part for part in functions if "PLACES_FILE" in part.get("Environment", {}).get("Variables", {})]


def test_unusable_database_is_refused_before_the_deployment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="places_file cannot be read: No such file"):
        replace(STAGES["prod"], places_file="/none/places.mmdb")
    with pytest.raises(ConfigError, match="places_file is a database of the type 'GeoLite2-ASN'"):
        replace(STAGES["prod"], places_file=str(write_places(tmp_path / "asn.mmdb", kind="GeoLite2-ASN")))


def test_database_that_exceeds_the_limit_of_lambda_is_refused(tmp_path: Path) -> None:
    path = write_places(tmp_path / "places.mmdb")
    content = path.read_bytes()
    with path.open("wb") as file:
        # A hole before the end takes no room on the disk. The tree remains at the start, and the description at the end.
        file.write(content[:1000])
        file.seek(PLACES_MAX_BYTES)
        file.write(content)

    with pytest.raises(ConfigError, match=r"places_file has 180,001,\d{3} bytes; at most 180,000,000 fit"):
        replace(STAGES["prod"], places_file=str(path))
