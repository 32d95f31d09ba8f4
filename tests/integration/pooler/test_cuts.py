"""The line to the database breaks at every message of every flow: nothing acknowledged is lost, nothing happens twice."""

import os
import random

import pytest

from tests.integration.pooler.conftest import Fireplace
from tests.integration.pooler.flows import FLOWS
from tests.support.fault_injection import Point, points_of

pytestmark = pytest.mark.slow

POINTS = int(os.environ.get("CUT_POINTS", "1"))
"""Points of each flow, chosen at random; 0 is all of them."""
SEED = int(os.environ.get("CUT_SEED", "7" if os.environ.get("CI") else str(random.getrandbits(32))))


@pytest.mark.parametrize("name", FLOWS)
def test_line_that_breaks_anywhere_loses_nothing_and_doubles_nothing(fire: Fireplace, name: str) -> None:
    flow = FLOWS[name]
    points = list(points_of(fire.flushes_of(flow)))
    assert len(points) > 10
    chosen = random.Random(f"{SEED}{name}").sample(points, POINTS) if POINTS else points
    print(f"CUT_SEED={SEED}: {len(chosen)} of {len(points)} points")

    for point in chosen:
        fire.burn(flow, point)


@pytest.mark.parametrize("name", ["start an upload", "start an upload in parts"])
@pytest.mark.parametrize("number", [2, 3], ids=["taking the key", "making the file"])
def test_request_whose_line_broke_can_be_sent_again_at_once_under_its_key(fire: Fireplace, name: str, number: int) -> None:
    """The key of the lost request was kept for a minute; the same request was a conflict for as long."""
    flow = FLOWS[name]
    sent = fire.flushes_of(flow)[number - 1].sent

    for messages in (0, sent - 1, sent):
        fire.burn(flow, Point(number, in_answer=False, messages=messages))
