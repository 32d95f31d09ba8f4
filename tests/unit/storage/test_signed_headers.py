"""Nothing is signed that could be more than one header, one key or one upload."""

from typing import Any

import pytest

from lambda_app.core.errors import MalformedRequestError, TooLargeError
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.signed_headers import safe_key, upload_headers

GOOD: dict[str, Any] = {"size_bytes": 1, "content_type": "image/png", "sha256": None}


def test_largest_single_upload_is_admitted_and_one_byte_more_is_not() -> None:
    assert upload_headers(**GOOD | {"size_bytes": SINGLE_PUT_MAX_BYTES})["Content-Length"] == "5368709120"

    with pytest.raises(TooLargeError) as refused:
        upload_headers(**GOOD | {"size_bytes": SINGLE_PUT_MAX_BYTES + 1})
    assert (refused.value.status, refused.value.code) == (413, "too_large_for_one_upload")


@pytest.mark.parametrize(
    "bad",
    [
        {"size_bytes": -1},
        {"content_type": ""},
        {"content_type": "png"},
        {"content_type": "image/"},
        {"content_type": "/png"},
        {"content_type": " image/png"},
        {"content_type": "image/png "},
        {"content_type": "image/png\n"},
        {"content_type": "image/png\r\nx-amz-acl: public-read"},
        {"content_type": "image/pñg"},
        {"content_type": "image/p\x00ng"},
        {"content_type": "image/\ud800"},
        {"sha256": ""},
        {"sha256": "0" * 63},
        {"sha256": "0" * 65},
        {"sha256": "g" * 64},
        {"sha256": "0" * 64 + "\n"},
        {"sha256": "٠" * 64},
    ],
)
def test_value_that_cannot_be_its_header_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequestError):
        upload_headers(**GOOD | bad)


def test_digest_in_either_case_is_the_same_header() -> None:
    lower, upper = (upload_headers(**GOOD | {"sha256": digest * 32})["x-amz-checksum-sha256"] for digest in ("ab", "AB"))

    assert lower == upper == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="


@pytest.mark.parametrize("key", ["uploads/0f8fad5b-d9cb-469f-a165-70867728950e", "a", "a/b.c/...", "a/.hidden", "a" * 1024])
def test_plain_key_passes_unchanged(key: str) -> None:
    assert safe_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/.",
        "a/..",
        "a b",
        "a\n",
        "a\r\nb",
        "a?b",
        "a#b",
        "a%2fb",
        "é",
        "\ud800",
        "a" * 1025,
    ],
)
def test_key_that_a_client_could_read_otherwise_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="unsafe object key"):
        safe_key(key)
