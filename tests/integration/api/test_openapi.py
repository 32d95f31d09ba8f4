"""The OpenAPI document matches the API. The fuzzer found each of these mismatches."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lambda_app.models import FileStatus
from tests.support.accounts import Account
from tests.support.problems import assert_problem

OPTIONAL_CREDENTIALS = {
    ("post", "/api/v1/users/"),
    ("get", "/api/v1/files/download/{file_id}"),
    ("post", "/api/v1/login/logout"),
    ("post", "/api/v1/login/verify-email"),
}
"""Operations that also accept requests without credentials: open registration, public files, a refresh token in the body."""


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, operation) for path, methods in app.openapi()["paths"].items() for method, operation in methods.items()]


def test_document_marks_optional_credentials(app: FastAPI) -> None:
    optional = {(method, path) for method, path, operation in operations(app) if {} in operation.get("security", [])}

    assert optional >= OPTIONAL_CREDENTIALS
    assert ("get", "/api/v1/files") not in optional


def test_document_lists_the_errors_of_every_request_body(app: FastAPI) -> None:
    with_body = [operation for _, _, operation in operations(app) if "requestBody" in operation]

    assert with_body
    assert all({"400", "413", "422"} <= operation["responses"].keys() for operation in with_body)


def test_document_bounds_numeric_query_parameters(app: FastAPI) -> None:
    schemas = [parameter["schema"] for _, _, operation in operations(app) for parameter in operation.get("parameters", [])]
    numbers = [schema for schema in schemas if schema.get("type") == "integer"]

    assert len(numbers) >= 7
    assert all({"minimum", "maximum"} <= number.keys() for number in numbers)


def test_document_offers_only_statuses_that_can_be_listed(app: FastAPI) -> None:
    parameters = app.openapi()["paths"]["/api/v1/files"]["get"]["parameters"]
    status = next(parameter["schema"] for parameter in parameters if parameter["name"] == "status")

    one, several = status["anyOf"]
    assert set(one["enum"]) == set(several["items"]["enum"]) == set(FileStatus) - {FileStatus.DELETING}


def test_optional_bodies_are_not_nullable(app: FastAPI) -> None:
    optional = [
        body for _, _, operation in operations(app) if not (body := operation.get("requestBody", {"required": True})).get("required")
    ]

    assert len(optional) >= 2
    for body in optional:
        assert all("$ref" in content["schema"] for content in body["content"].values()), body


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/v1/files/6f3c1e1e-0000-4000-8000-000000000000", "DELETE, GET, PATCH, PUT"),
        ("/api/v1/files/upload", "POST"),
        ("/api/v1/users", "GET, POST"),
        ("/api/v1/users/me", "DELETE, GET, PATCH, PUT"),
        ("/health", "GET"),
    ],
)
def test_refused_method_returns_the_allowed_methods(client: httpx.Client, path: str, allowed: str) -> None:
    response = client.request("TRACE", path)

    assert_problem(response, 405, "method_not_allowed", headers={"allow": allowed})


@pytest.mark.parametrize("time", ["0.5", "1767225600", "-1", "nan"])
def test_number_is_refused_as_a_time(client: httpx.Client, owner: Account, time: str) -> None:
    response = client.get("/api/v1/files", params={"created_after": time}, headers=owner.headers)

    assert_problem(response, 422, "malformed_request")
