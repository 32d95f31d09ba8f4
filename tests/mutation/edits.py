"""Remove a guard from a function at run time: the function is named by itself, and what goes by the symbols it mentions.

Nothing here looks at source text, so neither a rename nor a new layout of the code breaks the list of guards: mypy and every
refactoring tool see the functions and symbols it names.
"""

import ast
import builtins
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, Protocol, TypeVar

from sqlalchemy import true

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)
_METHODS = frozenset({"where", "filter", "join"})
"""Those of a statement whose operands are conditions; the others, such as `in_`, are part of one."""


class EditError(Exception):
    """The function does not have what an edit removes."""


class Edit(Protocol):
    """A change of one function."""

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Change `node`, which is the definition of `function`. Raises EditError."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Call `behaviour` instead; its first argument is the original function, the others are the caller's."""

    behaviour: Callable[..., Any]

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Make the body one call."""
        original = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        original.__kwdefaults__ = function.__kwdefaults__
        arguments = [_constant(function, original)]
        arguments += [_load(argument.arg) for argument in (*node.args.posonlyargs, *node.args.args)]
        if node.args.vararg:
            arguments.append(ast.Starred(_load(node.args.vararg.arg), ast.Load()))
        keywords = [ast.keyword(argument.arg, _load(argument.arg)) for argument in node.args.kwonlyargs]
        if node.args.kwarg:
            keywords.append(ast.keyword(None, _load(node.args.kwarg.arg)))
        call: ast.expr = ast.Call(_constant(function, self.behaviour), arguments, keywords)
        node.body = [ast.Return(ast.Await(call) if isinstance(node, ast.AsyncFunctionDef) else call)]


class DropCheck:
    """Never enter the `if` that mentions all of the symbols, in its condition or directly below it; `at` chooses among several."""

    def __init__(self, *symbols: object, at: int | None = None) -> None:
        self._symbols, self._at = symbols, at

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Make its condition false."""
        mentions = _Mentions(function, self._symbols)
        found = [
            each
            for each in ast.walk(node)
            if isinstance(each, ast.If) and mentions.all_in(each.test, *(part for part in each.body if not isinstance(part, ast.If)))
        ]
        _one_of(found, self._at, function).test = ast.Constant(False)


class DropCondition:
    """Remove the innermost operands (of a call, a list, `and`, `or`, `&`) that mention all of the symbols.

    A call without operands then is no condition: SQL's `true`.
    """

    def __init__(self, *symbols: object, times: int = 1) -> None:
        self._symbols, self._times = symbols, times

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Remove them. Raises EditError when there are not as many as `times`."""
        dropper = _Dropper(_Mentions(function, self._symbols), function)
        node.body = [dropper.visit(statement) for statement in node.body]
        if dropper.dropped != self._times:
            raise EditError(f"{function.__qualname__} has {dropper.dropped} such conditions")


@dataclass(frozen=True, slots=True)
class DropArgument:
    """Leave out the keyword argument of this name, of a function that has a default for it."""

    name: str

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Remove it where it is given. Raises EditError when that is not exactly one call."""
        calls = [each for each in ast.walk(node) if isinstance(each, ast.Call) and self.name in (part.arg for part in each.keywords)]
        call = _one_of(calls, None, function)
        call.keywords = [part for part in call.keywords if part.arg != self.name]


class Read:
    """Read another value where the function reads a symbol."""

    def __init__(self, symbol: object, *, instead: object) -> None:
        self._symbol, self._instead = symbol, instead

    def apply(self, node: FunctionNode, function: FunctionType) -> None:
        """Put it there. Raises EditError when the function does not read the symbol."""
        replacer = _Replacer(_Mentions(function, (self._symbol,)), _constant(function, self._instead))
        node.body = [replacer.visit(statement) for statement in node.body]
        if not replacer.count:
            raise EditError(f"{function.__qualname__} does not read {self._symbol!r}")


def remove(target: Callable[..., Any], edits: Sequence[Edit]) -> None:
    """Change the function for all who have it, until the process ends, and compute the constants anew that modules made with it."""
    function = _function(target)
    function.__code__ = edited(target, edits)
    package = function.__module__.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and any(value is function for value in vars(module).values()):
            _compute_constants(module, function)


def edited(target: Callable[..., Any], edits: Sequence[Edit]) -> CodeType:
    """Return the code of the function after the edits. Raises EditError when one of them has nothing to change."""
    function = _function(target)
    module = sys.modules[function.__module__]
    tree = ast.parse(inspect.getsource(module))
    node = next(each for each in ast.walk(tree) if isinstance(each, FunctionNode) and _first_line(each) == function.__code__.co_firstlineno)
    for edit in edits:
        edit.apply(node, function)
    compiled = compile(ast.fix_missing_locations(tree), str(module.__file__), "exec", dont_inherit=True)
    code = next(
        code
        for code in _all_code(compiled)
        if (code.co_qualname, code.co_firstlineno) == (function.__code__.co_qualname, function.__code__.co_firstlineno)
    )
    if code.co_freevars != function.__code__.co_freevars:
        raise EditError(f"{function.__qualname__} is a closure over {function.__code__.co_freevars}")
    return code


def _compute_constants(module: ModuleType, function: FunctionType) -> None:
    names = {name for name, value in vars(module).items() if value is function}
    for statement in ast.parse(inspect.getsource(module)).body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        if any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(statement.value)):
            code = compile(ast.Module([statement], []), str(module.__file__), "exec", dont_inherit=True)
            exec(code, vars(module))  # noqa: S102 - the module's own statement, a second time


def _function(target: Callable[..., Any]) -> FunctionType:
    function = inspect.unwrap(target)
    if not isinstance(function, FunctionType):
        raise EditError(f"{target!r} is not a function")
    return function


def _first_line(node: FunctionNode) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _all_code(code: CodeType) -> list[CodeType]:
    inner = [each for constant in code.co_consts if isinstance(constant, CodeType) for each in _all_code(constant)]
    return [code, *inner]


def _load(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _constant(function: FunctionType, value: object) -> ast.expr:
    """Return an expression for any object: a name of the function's module that has no other use."""
    name = f"_guard_{id(value)}"
    function.__globals__[name] = value
    return _load(name)


def _one_of(found: Sequence[Node], at: int | None, function: FunctionType) -> Node:
    if at is None and len(found) != 1:
        raise EditError(f"{function.__qualname__} has {len(found)} such places")
    try:
        return found[at or 0]
    except IndexError:
        raise EditError(f"{function.__qualname__} has {len(found)} such places") from None


class _Mentions:
    """Which of the symbols an expression reads, by identity."""

    def __init__(self, function: FunctionType, symbols: Sequence[object]) -> None:
        self._globals, self._symbols = function.__globals__, symbols

    def all_in(self, *nodes: ast.AST) -> bool:
        """Whether the nodes together read every symbol."""
        values = [self.value_of(part) for node in nodes for part in ast.walk(node)]
        return all(any(value is symbol for value in values) for symbol in self._symbols)

    def is_one(self, node: ast.AST) -> bool:
        """Whether the node itself is a symbol."""
        value = self.value_of(node)
        return any(value is symbol for symbol in self._symbols)

    def value_of(self, node: ast.AST) -> object:
        """Return what a dotted name of the module stands for; the node itself where it is none."""
        match node:
            case ast.Name(id=name) if name in self._globals:
                return self._globals[name]
            case ast.Name(id=name) if hasattr(builtins, name):
                return getattr(builtins, name)
            case ast.Attribute(value=owner, attr=name) if (value := self.value_of(owner)) is not owner:
                return getattr(value, name, node)
        return node


class _Dropper(ast.NodeTransformer):
    def __init__(self, mentions: _Mentions, function: FunctionType) -> None:
        self._mentions, self._function, self.dropped = mentions, function, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        match node:
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                kept = self._kept([left, right])
                return kept[0] if len(kept) == 1 else node
            case ast.BoolOp(values=operands):
                kept = self._kept(operands)
                node.values = kept
                return kept[0] if len(kept) == 1 else node
            case ast.Tuple(elts=operands) | ast.List(elts=operands):
                node.elts = self._kept(operands)
            case ast.Call(args=[_, *_] as operands, func=called) if _takes_conditions(called):
                node.args = self._kept(operands)
                if not node.args and isinstance(called, ast.Name):
                    return ast.Call(_constant(self._function, true), [], [])
        return node

    def _kept(self, operands: list[ast.expr]) -> list[ast.expr]:
        kept = [operand for operand in operands if not self._mentions.all_in(operand)]
        self.dropped += len(operands) - len(kept)
        return kept


def _takes_conditions(called: ast.expr) -> bool:
    match called:
        case ast.Name() | ast.Attribute(value=ast.Name("self")):
            return True
        case ast.Attribute(attr=method):
            return method in _METHODS
    return False


class _Replacer(ast.NodeTransformer):
    def __init__(self, mentions: _Mentions, replacement: ast.expr) -> None:
        self._mentions, self._replacement, self.count = mentions, replacement, 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and self._mentions.is_one(node):
            self.count += 1
            return self._replacement
        return self.generic_visit(node)
