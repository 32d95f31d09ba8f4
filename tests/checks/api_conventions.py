"""What each operation of the OpenAPI document must have, so that generated clients are good. CONTRIBUTING.md states the conventions."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

PROBLEM_MEDIA_TYPE = "application/problem+json"
EXAMPLES_MIN_COUNT = 2

_CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z0-9]*)*")
_REF = "#/components/schemas/"


def missing_parts(document: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that an operation or a schema lacks."""
    return [*_of_operations(document), *_of_schemas(document["components"]["schemas"])]


def _of_operations(document: dict[str, Any]) -> Iterator[str]:
    tags = {tag["name"] for tag in document.get("tags", ())}
    schemes = document["components"].get("securitySchemes", {})
    schemas = document["components"]["schemas"]
    ids = Counter(operation.get("operationId") for _, operation in _operations(document))
    for name, operation in _operations(document):
        identity = operation.get("operationId", "")
        if not _CAMEL_CASE.fullmatch(identity):
            yield f"{name}: the operationId {identity!r} is not a name in camel case; rename the route's function"
        if ids[identity] > 1:
            yield f"{name}: the operationId {identity!r} is used twice; set operation_id on one of the routes"
        if not operation.get("description"):
            yield f"{name} has no description; write a docstring"
        if not operation.get("tags") or not tags.issuperset(operation["tags"]):
            yield f"{name}: its tag is missing or has no description; add it to TAGS in routers/http/openapi/document.py"
        if "security" not in operation or any(scheme not in schemes for requirement in operation["security"] for scheme in requirement):
            yield f"{name} has no security requirement, or one without a scheme"
        yield from _of_parameters(name, operation)
        yield from _of_body(name, operation, schemas)
        yield from _of_responses(name, operation)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def _of_parameters(name: str, operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        if not parameter.get("description"):
            where = (
                "add it to PATH_DESCRIPTIONS in routers/http/openapi/parameters.py"
                if parameter["in"] == "path"
                else "set it in Query or Header"
            )
            yield f"{name}: the parameter {parameter['name']} has no description; {where}"
        if "null" in str(parameter["schema"].get("anyOf", "")):
            yield f"{name}: the parameter {parameter['name']} is nullable"


def _of_body(name: str, operation: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        reference = content["schema"].get("$ref", "")
        if not reference:
            yield f"{name}: its body of {media_type} is not a reference to one model, or is nullable"
            continue
        count = len(schemas[reference.removeprefix(_REF)].get("examples", ()))
        if count < EXAMPLES_MIN_COUNT:
            model = reference.removeprefix(_REF)
            yield f"{name}: {model} has {count} examples; write {EXAMPLES_MIN_COUNT} as `model_config = examples(…)`"


def _of_responses(name: str, operation: dict[str, Any]) -> Iterator[str]:
    if not any(status[0] in "23" for status in operation["responses"]):
        yield f"{name} has no successful response"
    for status, response in operation["responses"].items():
        if status[0] not in "45":
            continue
        schema = response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("schema", {})
        references = [choice.get("$ref", "") for choice in schema.get("oneOf", [schema])]
        if not all(reference.endswith("Problem") and reference != f"{_REF}Problem" for reference in references):
            yield f"{name}: the response {status} names no error code; list its codes in problem_responses(…)"
        for header in {"429": ["Retry-After"], "503": ["Retry-After"]}.get(status, ()):
            if header not in response.get("headers", {}):
                yield f"{name}: the response {status} lacks the header {header}"


def _of_schemas(schemas: dict[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        if not schema.get("description"):
            yield f"The schema {name} has no description; write a docstring"
        for part in (schema, *schema.get("allOf", ())):
            for member, definition in part.get("properties", {}).items():
                if not definition.get("description"):
                    yield f"The schema {name}: the field {member} has no description; set it in Field(description=…)"
