"""The database connection breaks at any message of any flow: no acknowledged effect is lost, and none happens twice."""

import os
import random

import pytest

from tests.integration.pooler.conftest import Disruption
from tests.integration.pooler.flows import FLOWS
from tests.support.fault_injection import Point, points_of

pytestmark = pytest.mark.slow

POINTS = int(os.environ.get("CUT_POINTS", "1"))
"""Random points per flow; 0 means all points."""
SEED = int(os.environ.get("CUT_SEED", "7" if os.environ.get("CI") else str(random.getrandbits(32))))


@pytest.mark.parametrize("name", FLOWS)
def test_connection_loss_at_any_message_loses_and_duplicates_nothing(disruption: Disruption, name: str) -> None:
    flow = FLOWS[name]
    points = list(points_of(disruption.flushes_of(flow)))
    assert len(points) > 10
    chosen = random.Random(f"{SEED}{name}").sample(points, POINTS) if POINTS else points
    print(f"CUT_SEED={SEED}: {len(chosen)} of {len(points)} points")

    for point in chosen:
        disruption.assert_survives(flow, point)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param("start an upload", 1, id="the only flush-start an upload"),
        pytest.param("start an upload in parts", 2, id="reserving the key-start an upload in parts"),
        pytest.param("start an upload in parts", 3, id="creating the file-start an upload in parts"),
    ],
)
def test_request_lost_with_its_connection_can_be_retried_immediately_with_its_idempotency_key(
    disruption: Disruption, name: str, number: int
) -> None:
    """Otherwise the lost request would hold its idempotency key for a minute, and each retry would be a conflict."""
    flow = FLOWS[name]
    sent = disruption.flushes_of(flow)[number - 1].sent

    for messages in (0, sent - 1, sent):
        disruption.assert_survives(flow, Point(number, in_answer=False, messages=messages))
