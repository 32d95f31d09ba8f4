"""Cursors of paged lists."""

import base64
import contextlib
from datetime import datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.core import clock
from lambda_app.core.errors import MalformedRequestError
from lambda_app.schemas.files.file_lists import FileOrder, OrderField
from lambda_app.schemas.page import CURSOR_MAX_LENGTH, Cursor


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (OrderField.CREATED, clock.now()),
        (OrderField.NAME, "📦" * 255),
        (OrderField.NAME, 'a"b'),
        (OrderField.SIZE, 0),
        (OrderField.SIZE, 2**62),
    ],
    ids=["time", "longest name", "name", "empty", "large"],
)
def test_encoded_cursor_decodes_to_the_same_cursor(field: OrderField, value: datetime | str | int) -> None:
    cursor = Cursor(FileOrder(field, is_descending=True), value, uuid4())

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
        b'["2026-01-01T00:00:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["created",true,"2026-01-01T00:00:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["created",1,"2026-01-01T00:00:00Z","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["created",true,5,"6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["colour",true,"red","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["size",true,-1,"6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["size",true,true,"6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["size",true,9223372036854775808,"6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["name",true,"\\u0000","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["name",true,"\\ud800","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["created",true,"0001-01-01T00:00:00+14:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b'["created",true,"9999-12-31T23:59:59-14:00","6f3c1e1e-0000-4000-8000-000000000000"]',
        b"[" * 150,
        b"\xff",
    ],
)
def test_invalid_cursor_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        Cursor.decode(base64.urlsafe_b64encode(payload).decode())


@given(st.text(max_size=CURSOR_MAX_LENGTH))
def test_decoding_arbitrary_text_raises_only_malformed_request(text: str) -> None:
    with contextlib.suppress(MalformedRequestError):
        Cursor.decode(text)
