"""Compares the OpenAPI document with the baseline: changes that break existing clients must be listed.

The baseline is the API of the last release (`api_baseline.json`). `api_changes.txt` lists the allowed breaking changes since then, one
finding a line as this check prints it. `--record` replaces the baseline by the current document and empties the list.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.checks.api_conventions import missing_parts

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "openapi.json"
BASELINE = HERE / "api_baseline.json"
ALLOWED = HERE / "api_changes.txt"

Schema = dict[str, Any]
_TEXTS = ("description", "summary", "title", "examples", "example")
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_DEPTH_MAX = 12


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return a sentence for each difference that can break a client of the old document."""
    return list(dict.fromkeys(_breaking_changes(_Document(old), _Document(new))))


class _Document:
    """A document, and the schemas that its references name."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._schemas = content.get("components", {}).get("schemas", {})

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self.content["paths"].items():
            for method, operation in operations.items():
                yield path, method, operation

    def resolve(self, schema: Schema) -> Schema:
        """Return the schema that a reference names, with the parts of `allOf` merged."""
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if "allOf" not in schema:
            return schema
        merged: Schema = {"properties": {}, "required": []}
        for part in map(self.resolve, schema["allOf"]):
            merged |= {key: value for key, value in part.items() if key not in merged}
            merged["properties"] |= part.get("properties", {})
            merged["required"] = [*merged["required"], *part.get("required", ())]
        return merged


def _breaking_changes(old: _Document, new: _Document) -> Iterator[str]:
    for path, method, before in old.operations():
        name = f"{method.upper()} {path}"
        after = new.content["paths"].get(path, {}).get(method)
        if after is None:
            yield f"{name}: removed"
            continue
        if before["operationId"] != after["operationId"]:
            yield f"{name}: operationId {before['operationId']} is now {after['operationId']}"
        yield from _security(name, before, after)
        yield from _parameters(name, before, after, old, new)
        yield from _bodies(name, before, after, old, new)
        yield from _responses(name, before, after, old, new)


def _security(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    accepted = after.get("security", [])
    for requirement in before.get("security") or [{}]:
        if accepted and not any(
            other.keys() <= requirement.keys() and all(set(other[key]) <= set(requirement[key]) for key in other) for other in accepted
        ):
            yield f"{name}: no longer accepts {json.dumps(requirement) if requirement else 'requests without credentials'}"


def _parameters(name: str, before: dict[str, Any], after: dict[str, Any], old: _Document, new: _Document) -> Iterator[str]:
    current = {(parameter["in"], parameter["name"]): parameter for parameter in after.get("parameters", ())}
    known = {(parameter["in"], parameter["name"]): parameter for parameter in before.get("parameters", ())}
    for (place, key), parameter in known.items():
        found = current.get((place, key))
        label = f"{name}: {place} parameter {key}"
        if found is None:
            yield f"{label}: removed"
            continue
        if found.get("required") and not parameter.get("required"):
            yield f"{label}: now required"
        yield from _narrower(label, parameter["schema"], found["schema"], old, new)
    for (place, key), parameter in current.items():
        if parameter.get("required") and (place, key) not in known:
            yield f"{name}: {place} parameter {key}: new and required"


def _bodies(name: str, before: dict[str, Any], after: dict[str, Any], old: _Document, new: _Document) -> Iterator[str]:
    known, current = before.get("requestBody"), after.get("requestBody")
    if known is None:
        if current is not None and current.get("required"):
            yield f"{name}: body: new and required"
        return
    if current is None:
        yield f"{name}: body: removed"
        return
    if current.get("required") and not known.get("required"):
        yield f"{name}: body: now required"
    for media_type, content in known["content"].items():
        if media_type not in current["content"]:
            yield f"{name}: body: {media_type} is no longer accepted"
        else:
            yield from _narrower(f"{name}: body", content["schema"], current["content"][media_type]["schema"], old, new)


def _responses(name: str, before: dict[str, Any], after: dict[str, Any], old: _Document, new: _Document) -> Iterator[str]:
    for status, response in before["responses"].items():
        current = after["responses"].get(status)
        if current is None:
            # An error that no longer occurs breaks no client.
            if status[0] in "23":
                yield f"{name}: response {status}: removed"
            continue
        for header in response.get("headers", {}):
            if header not in current.get("headers", {}):
                yield f"{name}: response {status}: header {header} removed"
        if status[0] in "23":
            yield from _contents(f"{name}: response {status}", response.get("content", {}), current.get("content", {}), old, new)
    for status in after["responses"].keys() - before["responses"].keys():
        if status[0] == "2":
            yield f"{name}: response {status}: new"


def _contents(label: str, before: dict[str, Any], after: dict[str, Any], old: _Document, new: _Document) -> Iterator[str]:
    for media_type, content in before.items():
        found = after.get(media_type)
        if found is None:
            yield f"{label}: {media_type} removed"
        else:
            yield from _wider(label, content.get("schema", {}), found.get("schema", {}), old, new)


def _narrower(label: str, before: Schema, after: Schema, old: _Document, new: _Document, depth: int = 0) -> Iterator[str]:
    """Yield what the new schema of an input refuses although the old one accepted it."""
    if depth > _DEPTH_MAX:
        return
    before, after = old.resolve(before), new.resolve(after)
    if "anyOf" in before or "anyOf" in after:
        yield from _choices(label, before, after, old, new, depth)
        return
    yield from _types(label, before, after, "no longer accepts")
    yield from _bounds(label, before, after)
    properties, current = before.get("properties", {}), after.get("properties", {})
    for key, schema in properties.items():
        if key not in current:
            yield f"{label}.{key}: removed"
        else:
            yield from _narrower(f"{label}.{key}", schema, current[key], old, new, depth + 1)
    for key in after.get("required", ()):
        if key not in before.get("required", ()):
            yield f"{label}.{key}: {'now' if key in properties else 'new and'} required"
    if "items" in before and "items" in after:
        yield from _narrower(f"{label}[]", before["items"], after["items"], old, new, depth + 1)


def _choices(label: str, before: Schema, after: Schema, old: _Document, new: _Document, depth: int) -> Iterator[str]:
    kinds = {_kind(choice): choice for choice in map(old.resolve, before.get("anyOf", [before]))}
    current = {_kind(choice): choice for choice in map(new.resolve, after.get("anyOf", [after]))}
    for kind, choice in kinds.items():
        if kind in current:
            yield from _narrower(label, choice, current[kind], old, new, depth + 1)
        else:
            yield f"{label}: no longer accepts {kind}"


def _wider(label: str, before: Schema, after: Schema, old: _Document, new: _Document, depth: int = 0) -> Iterator[str]:
    """Yield what a client of the old schema of an output cannot rely on any more. New members and new codes are no breaking changes."""
    if depth > _DEPTH_MAX:
        return
    before, after = old.resolve(before), new.resolve(after)
    kinds = {_kind(choice): choice for choice in map(old.resolve, before.get("anyOf", [before]))}
    current = {_kind(choice): choice for choice in map(new.resolve, after.get("anyOf", [after]))}
    for kind in current.keys() - kinds.keys():
        yield f"{label}: can now be {kind}"
    for kind, choice in kinds.items():
        found = current.get(kind)
        if found is None:
            continue
        for key, schema in choice.get("properties", {}).items():
            if key not in found.get("properties", {}):
                yield f"{label}.{key}: removed"
                continue
            if key in choice.get("required", ()) and key not in found.get("required", ()):
                yield f"{label}.{key}: can now be absent"
            yield from _wider(f"{label}.{key}", schema, found["properties"][key], old, new, depth + 1)
        if "items" in choice and "items" in found:
            yield from _wider(f"{label}[]", choice["items"], found["items"], old, new, depth + 1)


def _types(label: str, before: Schema, after: Schema, verb: str) -> Iterator[str]:
    if "type" in after and before.get("type") != after["type"]:
        yield f"{label}: {verb} {_kind(before)}"
    removed = [value for value in before.get("enum", ()) if value not in (after.get("enum") or before["enum"])]
    if removed:
        yield f"{label}: {verb} {', '.join(map(str, removed))}"
    if "enum" in after and "enum" not in before:
        yield f"{label}: {verb} other values than {', '.join(map(str, after['enum']))}"
    for rule in ("pattern", "format"):
        if rule in after and after[rule] != before.get(rule):
            yield f"{label}: {rule} is now {after[rule]}"


def _bounds(label: str, before: Schema, after: Schema) -> Iterator[str]:
    for bound in _LOWER_BOUNDS:
        if after.get(bound, float("-inf")) > before.get(bound, 0 if bound.startswith("minL") or bound == "minItems" else float("-inf")):
            yield f"{label}: {bound} is now {after[bound]}"
    for bound in _UPPER_BOUNDS:
        if after.get(bound, float("inf")) < before.get(bound, float("inf")):
            yield f"{label}: {bound} is now {after[bound]}"


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "any")
    return f"{kind} {schema['format']}" if "format" in schema else str(kind)


def _without_texts(node: Any) -> Any:
    """Return the document without texts, which break no client. A field may be named like one of them."""
    if isinstance(node, list):
        return [_without_texts(value) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: _without_texts(schema) for name, schema in value.items()} if key == "properties" else _without_texts(value)
        for key, value in node.items()
        if key not in _TEXTS
    }


def record() -> None:
    """Make the current document the baseline."""
    document = _without_texts(json.loads(DOCUMENT.read_text(encoding="utf-8")))
    BASELINE.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")).replace(',"/', ',\n"/') + "\n", encoding="utf-8")
    ALLOWED.write_text("".join(line for line in ALLOWED.read_text().splitlines(keepends=True) if line.startswith("#")), encoding="utf-8")


def check() -> list[str]:
    """Return what is wrong with the current document."""
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    found = breaking_changes(json.loads(BASELINE.read_text(encoding="utf-8")), document)
    allowed = {line for line in ALLOWED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")}
    return [
        *missing_parts(document),
        *(f"Breaking change: {change}" for change in found if change not in allowed),
        *(f"{ALLOWED.name} lists a change that is not there: {line}" for line in sorted(allowed.difference(found))),
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        record()
    else:
        problems = check()
        print("\n".join(problems), end="\n" if problems else "")
        if any(problem.startswith("Breaking") for problem in problems):
            print(f"If a breaking change is intended, add its line (after 'Breaking change: ') to tests/checks/{ALLOWED.name}.")
        sys.exit(1 if problems else 0)
