"""Values that cannot be exactly one header, one key or one upload are never signed."""

from typing import Any

import pytest

from lambda_app.core.errors import MalformedRequestError, TooLargeError
from lambda_app.storage.object_store import SINGLE_PUT_MAX_BYTES
from lambda_app.storage.signed_headers import safe_key, upload_headers

GOOD: dict[str, Any] = {"size_bytes": 1, "content_type": "image/png", "sha256": None}


def test_upload_size_is_limited_to_the_maximum_of_one_put() -> None:
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
def test_invalid_header_value_is_rejected(bad: dict[str, Any]) -> None:
    with pytest.raises(MalformedRequestError):
        upload_headers(**GOOD | bad)


def test_case_of_the_digest_does_not_change_the_header() -> None:
    lower, upper = (upload_headers(**GOOD | {"sha256": digest * 32})["x-amz-checksum-sha256"] for digest in ("ab", "AB"))

    assert lower == upper == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="


@pytest.mark.parametrize("key", ["uploads/0f8fad5b-d9cb-469f-a165-70867728950e", "a", "a/b.c/...", "a/.hidden", "a" * 1024])
def test_safe_key_is_returned_unchanged(key: str) -> None:
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
def test_ambiguous_key_is_rejected(key: str) -> None:
    with pytest.raises(ValueError, match="unsafe object key"):
        safe_key(key)
