"""The example of docs/webhooks.md accepts genuine messages only."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lambda_app.core import clock
from lambda_app.core.outbound.posts import Answer
from lambda_app.core.webhooks import Batch, Message, new_secret, send_batch

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"
Verify = Callable[[str, dict[str, str], bytes], bool]


@pytest.fixture
def verify() -> Verify:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the example of the guide
    found: Verify = names["verify"]
    return found


def test_example_accepts_a_message_and_refuses_changed_ones(verify: Verify) -> None:
    sent: list[tuple[bytes, dict[str, str]]] = []

    def post(_url: str, body: bytes, headers: dict[str, str]) -> Answer:
        sent.append((body, headers))
        return Answer(None, 204, "", 1)

    old, new = new_secret(), new_secret()
    send_batch(
        Batch(uuid4(), uuid4(), "https://example.com/", [new, old], 0, [Message(uuid4(), '{"type":"file.available"}')], clock.now()), post
    )

    [(body, headers)] = sent
    assert verify(old, headers, body)
    assert verify(new, headers, body)
    assert not verify(new_secret(), headers, body)
    assert not verify(new, headers, body + b" ")
    for changed in ({"webhook-id": str(uuid4())}, {"webhook-timestamp": str(int(clock.now().timestamp()) - 301)}):
        assert not verify(new, {**headers, **changed}, body)
