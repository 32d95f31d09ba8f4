"""Validation by the request models."""

from typing import Any

import pytest
from pydantic import ValidationError

from lambda_app.schemas.accounts.users import UserCreate
from lambda_app.schemas.files.files import FileCreate, FileUpdate

FILE: dict[str, Any] = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 1}


@pytest.mark.parametrize("filename", ["a", "報告.pdf", "👩‍👩‍👧.png", "שלום.txt", 'quo"te.txt', "a/b\\c", "x" * 255, "\u202egnp.exe"])
def test_valid_filename_is_not_changed(filename: str) -> None:
    assert FileCreate(**FILE | {"filename": filename}).filename == filename


@pytest.mark.parametrize("filename", ["", " ", "x" * 256, "a\x00", "a\nb", "a\rb", "\x7f", "\x85", "\ud800", 1, None, True, ["a"]])
def test_invalid_filename_is_refused(filename: Any) -> None:
    with pytest.raises(ValidationError):
        FileCreate(**FILE | {"filename": filename})


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain; charset=utf-8", "application/vnd.ms-excel", 'a/b; c="d e"', "a/" + "b" * 98]
)
def test_valid_media_type_is_accepted(content_type: str) -> None:
    assert FileCreate(**FILE | {"content_type": content_type}).content_type == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "text",
        "text/",
        "/plain",
        "text/plain\r\nx: y",
        "text/plain\n",
        "text/pläin",
        "text plain/x",
        "a/" + "b" * 99,
        5,
        "image/*",
        "*/*",
        "a/b; c",
    ],
)
def test_invalid_media_type_is_refused(content_type: Any) -> None:
    with pytest.raises(ValidationError):
        FileCreate(**FILE | {"content_type": content_type})


@pytest.mark.parametrize("size", [-1, 2**63, 1e3, 1.5, "5", True, None, float("nan"), float("inf"), 50 * 1024**4 + 1])
def test_invalid_size_is_refused(size: Any) -> None:
    with pytest.raises(ValidationError):
        FileCreate(**FILE | {"size_bytes": size})


@pytest.mark.parametrize("sha256", ["", "ab", "g" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"])
def test_invalid_digest_is_refused(sha256: str) -> None:
    with pytest.raises(ValidationError):
        FileCreate(**FILE | {"sha256": sha256})


def test_digest_is_stored_in_lower_case() -> None:
    assert FileCreate(**FILE | {"sha256": "AB" * 32}).sha256 == "ab" * 32


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        FileCreate(**FILE | {"owner_id": "x"})


@pytest.mark.parametrize(
    "changes", [{"filename": None}, {"is_public": None}, {"is_public": "true"}, {"size_bytes": 1}, {"status": "available"}]
)
def test_update_cannot_clear_required_or_set_other_fields(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FileUpdate(**changes)


def test_description_can_have_line_breaks_and_be_cleared() -> None:
    assert FileUpdate(description="one\n\ttwo").description == "one\n\ttwo"
    assert FileUpdate(description=None).model_dump(exclude_unset=True) == {"description": None}


@pytest.mark.parametrize("email", ["A.B@Example.COM", "a.b@example.com"])
def test_email_is_stored_in_lower_case(email: str) -> None:
    assert UserCreate(email=email, password="12345678").email == "a.b@example.com"


@pytest.mark.parametrize(
    "email", ["", "a", "a@", "@example.com", "a@b@example.com", "a@example.com\n", "a\x00@example.com", "x" * 250 + "@example.com"]
)
def test_invalid_email_is_refused(email: str) -> None:
    with pytest.raises(ValidationError):
        UserCreate(email=email, password="12345678")


@pytest.mark.parametrize("password", ["1234567", "x" * 1025, "\ud800" * 8, 12345678, None])
def test_password_of_invalid_length_or_type_is_refused(password: Any) -> None:
    with pytest.raises(ValidationError):
        UserCreate(email="a@example.com", password=password)
