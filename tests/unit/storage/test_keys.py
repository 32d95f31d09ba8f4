"""Object keys contain only ids, and only our own keys are parsed."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.storage.keys import file_id_of, object_key


def test_key_contains_only_the_id() -> None:
    assert object_key(UUID("0F8FAD5B-D9CB-469F-A165-70867728950E")) == "uploads/0f8fad5b-d9cb-469f-a165-70867728950e"


@given(st.uuids())
def test_id_is_parsed_from_its_key(file_id: UUID) -> None:
    assert file_id_of(object_key(file_id)) == file_id


@pytest.mark.parametrize(
    "key",
    [
        "",
        "uploads/",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "uploads/0F8FAD5B-D9CB-469F-A165-70867728950E",
        "uploads/0f8fad5bd9cb469fa16570867728950e",
        "uploads/0f8fad5b-d9cb-469f-a165-70867728950e\n",
        "uploads/0f8fad5b-d9cb-469f-a165-70867728950e/x",
        "/uploads/0f8fad5b-d9cb-469f-a165-70867728950e",
        "uploads/{0f8fad5b-d9cb-469f-a165-70867728950e}",
    ],
)
def test_other_keys_belong_to_no_file(key: str) -> None:
    assert file_id_of(key) is None
