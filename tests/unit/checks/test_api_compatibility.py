"""The comparison of two OpenAPI documents finds the changes that break clients, and no others."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.checks.api_compatibility import BASELINE, breaking_changes

Document = dict[str, Any]
DOCUMENT: Document = json.loads(BASELINE.read_text(encoding="utf-8"))
START = "POST /api/v1/files/upload"


def schema(document: Document, name: str) -> Any:
    return document["components"]["schemas"][name]


def operation(document: Document, method: str, path: str) -> Any:
    return document["paths"][path][method]


def remove_operation(document: Document) -> None:
    del document["paths"]["/api/v1/files/upload"]


def rename_operation(document: Document) -> None:
    operation(document, "post", "/api/v1/files/upload")["operationId"] = "beginUpload"


def require_field(document: Document) -> None:
    schema(document, "FileCreate")["required"].append("sha256")


def remove_input_field(document: Document) -> None:
    del schema(document, "FileCreate")["properties"]["sha256"]


def refuse_null(document: Document) -> None:
    schema(document, "FileCreate")["properties"]["sha256"] = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}


def shorten_name(document: Document) -> None:
    schema(document, "FileCreate")["properties"]["filename"]["maxLength"] = 100


def remove_output_field(document: Document) -> None:
    del schema(document, "FileUploadResponse")["properties"]["method"]


def return_null(document: Document) -> None:
    schema(document, "FileUploadResponse")["properties"]["method"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def omit_output_field(document: Document) -> None:
    schema(document, "FileUploadResponse")["required"].remove("method")


def remove_parameter(document: Document) -> None:
    operation(document, "post", "/api/v1/files/upload")["parameters"].clear()


def require_scope(document: Document) -> None:
    operation(document, "post", "/api/v1/files/upload")["security"][1]["ApiKey"] = ["admin"]


def remove_header(document: Document) -> None:
    del operation(document, "get", "/api/v1/files")["responses"]["200"]["headers"]["X-Next-Cursor"]


def remove_order(document: Document) -> None:
    schema(document, "Order")["enum"].remove("-size")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (remove_operation, f"{START}: removed"),
        (rename_operation, f"{START}: operationId startUpload is now beginUpload"),
        (require_field, f"{START}: body.sha256: now required"),
        (remove_input_field, f"{START}: body.sha256: removed"),
        (refuse_null, f"{START}: body.sha256: no longer accepts null"),
        (shorten_name, f"{START}: body.filename: maxLength is now 100"),
        (remove_output_field, f"{START}: response 201.method: removed"),
        (return_null, f"{START}: response 201.method: can now be null"),
        (omit_output_field, f"{START}: response 201.method: can now be absent"),
        (remove_parameter, f"{START}: header parameter Idempotency-Key: removed"),
        (require_scope, f'{START}: no longer accepts {{"ApiKey": ["files:write"]}}'),
        (remove_header, "GET /api/v1/files: response 200: header X-Next-Cursor removed"),
        (remove_order, "GET /api/v1/files: query parameter sort: no longer accepts -size"),
    ],
    ids=lambda value: getattr(value, "__name__", "finding"),
)
def test_breaking_change_is_found(change: Callable[[Document], None], finding: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)

    assert finding in breaking_changes(DOCUMENT, changed)


def test_additions_break_no_client() -> None:
    changed = copy.deepcopy(DOCUMENT)
    schema(changed, "FileCreate")["properties"]["label"] = {"type": "string"}
    schema(changed, "File")["properties"]["label"] = {"type": "string"}
    schema(changed, "FileCreate")["properties"]["filename"]["maxLength"] = 500
    schema(changed, "ErrorCode")["enum"].append("label_taken")
    changed["paths"]["/api/v1/labels"] = changed["paths"]["/api/v1/files"]
    operation(changed, "get", "/api/v1/files")["parameters"].append({"in": "query", "name": "label", "schema": {"type": "string"}})

    assert breaking_changes(DOCUMENT, changed) == []
