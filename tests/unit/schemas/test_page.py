"""Cursors."""

import base64
import contextlib
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.core import clock
from lambda_app.core.errors import MalformedRequestError
from lambda_app.schemas.page import CURSOR_MAX_LENGTH, Cursor


def test_cursor_reads_back() -> None:
    cursor = Cursor(created_at=clock.now(), id=uuid4())

    text = cursor.encode()

    assert Cursor.decode(text) == cursor
    assert len(text) <= CURSOR_MAX_LENGTH


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"1",
        b'["x","y"]',
        b'["0001-01-01T00:00:00+14:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["9999-12-31T23:59:59-14:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b"[" * 150,
        b"\xff",
    ],
)
def test_payload_that_is_none_of_ours_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        Cursor.decode(base64.urlsafe_b64encode(payload).decode())


@given(st.text(max_size=CURSOR_MAX_LENGTH))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MalformedRequestError):
        Cursor.decode(text)
