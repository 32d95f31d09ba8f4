"""The check of the OpenAPI document names what a new route lacks."""

from typing import Any

from fastapi import FastAPI

from lambda_app.routers.http.openapi.document import complete_document, operation_id
from lambda_app.routers.http.problems import problem_responses
from lambda_app.routers.http.router import Router
from lambda_app.schemas.base import RequestModel, ResponseModel
from tests.checks.api_conventions import missing_parts

IN_PATHS = "add it to PATH_DESCRIPTIONS in routers/http/openapi/parameters.py"


class Wish(RequestModel):
    """A wish."""

    text: str


class Answer(ResponseModel):
    """An answer."""

    text: str


def documented(*, tags: list[str], **options: Any) -> list[str]:
    """Return what the check finds in the document of an application with one careless route."""
    app = FastAPI(generate_unique_id_function=operation_id)
    router = Router(tags=tags)

    def make_wish(wish_id: str, wish: Wish, count: int | None = None) -> Answer:
        return Answer(text=f"{wish.text} {wish_id} {count}")

    router.add_api_route("/wishes/{wish_id}", make_wish, methods=["POST"], response_model=Answer, **options)
    router.add_to(app)
    complete_document(app)
    return missing_parts(app.openapi())


def test_check_names_what_a_route_lacks() -> None:
    found = documented(tags=["wishes"], responses=problem_responses(404))

    assert found == [
        "POST /wishes/{wish_id} has no description; write a docstring",
        "POST /wishes/{wish_id}: its tag is missing or has no description; add it to TAGS in routers/http/openapi/document.py",
        f"POST /wishes/{{wish_id}}: the parameter wish_id has no description; {IN_PATHS}",
        "POST /wishes/{wish_id}: the parameter count has no description; set it in Query or Header",
        "POST /wishes/{wish_id}: Wish has 0 examples; write 2 as `model_config = examples(…)`",
        "POST /wishes/{wish_id}: the response 404 names no error code; list its codes in problem_responses(…)",
        "The schema Answer: the field text has no description; set it in Field(description=…)",
        "The schema Wish: the field text has no description; set it in Field(description=…)",
    ]


def test_check_names_an_id_that_two_routes_have() -> None:
    document = {
        "paths": {
            path: {
                "get": {"operationId": "getWish", "description": "A wish.", "security": [], "tags": ["wishes"], "responses": {"204": {}}}
            }
            for path in ("/a", "/b")
        },
        "tags": [{"name": "wishes", "description": "Wishes."}],
        "components": {"schemas": {}},
    }

    assert missing_parts(document) == [
        f"GET {path}: the operationId 'getWish' is used twice; set operation_id on one of the routes" for path in ("/a", "/b")
    ]
