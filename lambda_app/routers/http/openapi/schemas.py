"""The schemas of the document: error codes, problem documents, forms, and input that does not require what has a default."""

import json
from collections.abc import Iterator
from typing import Any

from lambda_app.schemas.error_codes import ERRORS
from lambda_app.schemas.files.file_lists import Order
from lambda_app.schemas.problem import Problem
from lambda_app.schemas.sharing.shares import ShareCredentials

REF = "#/components/schemas/"
ERROR_CODE = "ErrorCode"
SIGN_IN_FORM = "SignInForm"
_GENERATED_SIGN_IN_FORM = "Body_signIn"
_RETRY_AFTER = {"type": "integer", "description": "When to repeat the request, in seconds, as in `Retry-After`."}

_FORM_DESCRIPTIONS = {
    "grant_type": "`password`, or absent.",
    "username": "The e-mail address of the account.",
    "password": "The password of the account.",
    "scope": "Ignored; OAuth 2.0 clients may send it.",
    "client_id": "Ignored; OAuth 2.0 clients may send it.",
    "client_secret": "Ignored; OAuth 2.0 clients may send it.",
}
_FORM_EXAMPLES = [
    {"username": "ada@example.com", "password": "correct horse battery staple"},
    {"grant_type": "password", "username": "ada@example.com", "password": "correct horse battery staple"},
]


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that is left out instead of being null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if not choices:
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    return choices[0] | others if len(choices) == 1 else {"anyOf": choices, **others}


def complete(schemas: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """Return all schemas of the document, sorted by name. Changes the references in `paths` to renamed ones."""
    schemas |= _with_definitions(Problem) | _with_definitions(ShareCredentials)
    if _GENERATED_SIGN_IN_FORM in schemas:
        schemas[SIGN_IN_FORM] = _sign_in_form(schemas.pop(_GENERATED_SIGN_IN_FORM))
        _rename(paths, _GENERATED_SIGN_IN_FORM, SIGN_IN_FORM)
    if Order.__name__ in schemas:
        # Generators cannot make names of `-created` and `-size`.
        schemas[Order.__name__]["x-enum-varnames"] = [order.name for order in Order]
    schemas[ERROR_CODE] = {
        "type": "string",
        "title": ERROR_CODE,
        "description": "What went wrong. Codes are stable; new ones may be added.\n\n"
        + "\n".join(f"- `{code}` ({spec.status}): {spec.description}" for code, spec in ERRORS.items()),
        "enum": [*ERRORS],
    }
    _complete_problem(schemas[Problem.__name__]["properties"])
    referenced = set(_references(paths))
    for code in ERRORS:
        name = _problem_name(code)
        if name in referenced:
            schemas[name] = _problem_schema(code)
    inputs = _closure({name for name in _body_references(paths) if name in schemas}, schemas)
    for name, schema in schemas.items():
        _simplify(schema, is_input=name in inputs)
    return dict(sorted(schemas.items()))


def _complete_problem(members: dict[str, Any]) -> None:
    for name, member in members.items():
        # A member without a value is absent.
        if "default" in member:
            members[name] = without_null({key: value for key, value in member.items() if key != "default"})
    members["code"] = {"$ref": REF + ERROR_CODE, "description": members["code"]["description"]}


def _problem_name(code: str) -> str:
    from lambda_app.routers.http.openapi.errors import schema_name

    return schema_name(code)


def _problem_schema(code: str) -> dict[str, Any]:
    spec = ERRORS[code]
    members = dict(spec.members)
    required = [name for name in members if name not in spec.optional]
    if spec.status in (429, 503):
        members["retry_after_seconds"] = _RETRY_AFTER
    return {
        "title": _problem_name(code),
        "description": spec.description,
        "allOf": [
            {"$ref": REF + Problem.__name__},
            {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "enum": [code], "description": "The error code."},
                    **members,
                },
                "required": ["code", *required],
            },
        ],
    }


def _sign_in_form(schema: dict[str, Any]) -> dict[str, Any]:
    for name, description in _FORM_DESCRIPTIONS.items():
        member = schema["properties"][name] = without_null(schema["properties"][name])
        member["description"] = description
    return schema | {
        "title": SIGN_IN_FORM,
        "description": "The form of OAuth 2.0's password grant (RFC 6749, section 4.3.2).",
        "examples": _FORM_EXAMPLES,
    }


def _with_definitions(model: type[Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=REF + "{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _simplify(schema: dict[str, Any], *, is_input: bool) -> None:
    for member in schema.get("properties", {}).values():
        # Titles that repeat the name of the member.
        member.pop("title", None)
        for choice in member.get("anyOf", ()):
            choice.pop("title", None)
        if not is_input or "default" not in member:
            continue
        # Some generators require a member that has a default. The description tells it instead.
        default = member.pop("default")
        if default not in (None, ""):
            shown = default if isinstance(default, str) else json.dumps(default)
            member["description"] = f"{member.get('description', '')} Default: `{shown}`.".strip()


def _rename(node: Any, old: str, new: str) -> None:
    for reference in _reference_nodes(node):
        if reference["$ref"] == REF + old:
            reference["$ref"] = REF + new


def _reference_nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        for value in node.values():
            yield from _reference_nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _reference_nodes(value)


def _references(node: Any) -> Iterator[str]:
    for reference in _reference_nodes(node):
        yield reference["$ref"].rpartition("/")[2]


def _body_references(paths: dict[str, Any]) -> Iterator[str]:
    for operations in paths.values():
        for operation in operations.values():
            yield from _references(operation.get("requestBody", {}))


def _closure(names: set[str], schemas: dict[str, Any]) -> set[str]:
    found = set(names)
    while names:
        names = {name for known in names for name in _references(schemas[known])} - found
        found |= names
    return found
