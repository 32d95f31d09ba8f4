"""No repository builds a statement for each request: functions with `cache` or `built_once` build it, and only once.

Building a statement takes a quarter to a half of a request's processor time. The test reads the source of all repositories.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import lambda_app.repositories

BUILDERS = frozenset({"select", "insert", "update", "delete", "upsert", "insert_or_update", "insert_or_ignore", "union_all"})
"""Functions of SQLAlchemy that begin a statement, by the names under which repositories import them."""
ONCE = frozenset({"cache", "lru_cache", "built_once"})
OF_THE_REQUEST = frozenset({"clock.now", "request_context", "request_id.get", "audit_entry", "entry_parameters", "audit_parameters"})
"""Calls whose value would stay that of the first request."""

EXCEPTIONS = {
    "batch_delete.delete_batch": "scheduled: any table and condition",
    "accounts.deletions.AccountDeletionRepository.delete_batch": "scheduled: the conditions of `delete_batch` for each table",
    "files.files.FileRepository.page": "superusers' lists of other accounts, and filters without an index: their SQL depends on the values",
    "files.files.FileRepository.count": "as `page`",
    "files.files.FileRepository.has_more_than": "as `page`",
    "webhooks.webhooks.WebhookRepository.purge": "scheduled: a condition of `delete_in_batches`",
}
"""Functions that build a statement per call, and why they may. Functions that only call these are not listed."""


class _Function(NamedTuple):
    node: ast.FunctionDef
    calls: frozenset[str]
    """The full names of the functions of repositories, and the plain names of others."""

    @property
    def is_built_once(self) -> bool:
        return any(name in ONCE for decorator in self.node.decorator_list for name in _names(decorator))

    @property
    def is_builder(self) -> bool:
        return not BUILDERS.isdisjoint(self.calls)


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}.{node.name}")
        elif isinstance(node, ast.FunctionDef):
            yield f"{prefix}.{node.name}", node


@cache
def functions() -> dict[str, _Function]:
    """Return all functions of repositories by their names, without the name of the package."""
    root = Path(lambda_app.repositories.__path__[0])
    found = {}
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name: f"{node.module}.{alias.name}".removeprefix("lambda_app.repositories.")
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lambda_app.repositories")
            for alias in node.names
        }
        own = {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for name, node in _functions(tree.body, module):
            calls = set()
            for call in (part for part in ast.walk(node) if isinstance(part, ast.Call)):
                text = ast.unparse(call.func)
                owner, _, method = text.partition(".")
                if owner in ("self", "cls"):
                    calls.add(f"{name.rpartition('.')[0]}.{method}")
                    continue
                known = {**imported, **own}.get(owner)
                calls.add(text if known is None else f"{known}.{method}".rstrip("."))
            found[name] = _Function(node, frozenset(calls))
    return found


def _builds(name: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a call of the function begins a statement, itself or in a function that it calls."""
    function = functions().get(name)
    if function is None or function.is_built_once or name in seen or name in EXCEPTIONS:
        return False
    return function.is_builder or any(_builds(call, seen | {name}) for call in function.calls)


def _executes(function: _Function) -> bool:
    parts = [part for part in ast.walk(function.node) if isinstance(part, ast.Attribute | ast.Name)]
    return any((part.attr if isinstance(part, ast.Attribute) else part.id) in ("_session", "_runner", "session") for part in parts)


@pytest.mark.parametrize("name", sorted(name for name, function in functions().items() if _executes(function)))
def test_statement_is_built_once_and_not_per_call(name: str) -> None:
    assert name in EXCEPTIONS or not _builds(name)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exception_still_builds_a_statement_per_call(name: str) -> None:
    function = functions()[name]

    assert not function.is_built_once
    assert function.is_builder or any(call.endswith(("Listed.of", "shared_files")) for call in function.calls)


def _reads_request(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    function = functions().get(name)
    if function is None or name in seen:
        return set()
    own = {call for call in function.calls if call in OF_THE_REQUEST or call.rpartition(".")[2] in OF_THE_REQUEST}
    return own.union(*(_reads_request(call, seen | {name}) for call in function.calls))


@pytest.mark.parametrize("name", sorted(name for name, function in functions().items() if function.is_built_once))
def test_function_that_builds_a_statement_once_reads_neither_clock_nor_request(name: str) -> None:
    assert _reads_request(name) == set()
