"""Applies templates to values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sampan.cli.template.functions import FUNCTIONS, Absent, shown, truth
from sampan.cli.template.lexer import TemplateError
from sampan.cli.template.parser import (
    Block,
    Branch,
    Call,
    Function,
    Jump,
    Literal,
    Operand,
    Path,
    Pipeline,
    Print,
    Text,
    Variable,
    parse,
)

_MISSING = object()
_LENIENT = ("not", "and", "or")  # functions that accept an absent key


class Template:
    """A parsed template. Raises `TemplateError` when it is malformed."""

    def __init__(self, source: str) -> None:
        self._block = parse(source)

    def render(self, value: Any, functions: Mapping[str, Callable[..., Any]] = FUNCTIONS) -> str:
        """Apply the template to `value`. Raises `TemplateError` if they don't fit."""
        run = _Run(value, functions)
        run.block(self._block, value)
        return "".join(run.output)


class _Break(Exception):
    """`break`."""


class _Continue(Exception):
    """`continue`."""


class _Run:
    """One execution: the output so far, and the variables in scope (innermost last)."""

    def __init__(self, value: Any, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.output: list[str] = []
        self._functions = functions
        self._scopes: list[dict[str, Any]] = [{"$": value}]

    def block(self, block: Block, dot: Any) -> None:
        self._scopes.append({})
        try:
            for node in block.nodes:
                self._node(node, dot)
        finally:
            self._scopes.pop()

    def _node(self, node: Text | Print | Branch | Jump, dot: Any) -> None:
        if isinstance(node, Text):
            self.output.append(node.text)
        elif isinstance(node, Print):
            value = _present(self._pipeline(node.pipeline, dot))
            if not node.pipeline.variables:
                self.output.append(shown(value))
        elif isinstance(node, Jump):
            raise _Break if node.kind == "break" else _Continue
        elif node.kind == "range":
            self._range(node, dot)
        else:
            self._choose(node, dot)

    def _choose(self, node: Branch, dot: Any) -> None:
        self._scopes.append({})
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self.block(node.body, value if node.kind == "with" else dot)
        else:
            self.block(node.otherwise, dot)
        self._scopes.pop()

    def _range(self, node: Branch, dot: Any) -> None:
        names = node.pipeline.variables
        items = list(_items(self._pipeline(node.pipeline._replace(variables=(), assign=""), dot)))
        if not items:
            return self.block(node.otherwise, dot)
        for key, item in items:
            scope = dict(zip(names, (key, item) if len(names) == 2 else (item,), strict=False))
            self._scopes.append(scope)
            try:
                self.block(node.body, item)
            except _Continue:
                continue
            except _Break:
                break
            finally:
                self._scopes.pop()
        return None

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = _MISSING
        for call in pipeline.calls:
            value = self._call(call, dot, value)
        for name in pipeline.variables:
            self._assign(name, value, declare=pipeline.assign == ":=")
        return value

    def _assign(self, name: str, value: Any, *, declare: bool) -> None:
        scope = self._scopes[-1] if declare else next((known for known in self._scopes[::-1] if name in known), None)
        if scope is None:
            raise TemplateError(f'undefined variable "{name}"')
        scope[name] = value

    def _call(self, call: Call, dot: Any, piped: Any) -> Any:
        first, *rest = call.operands
        if isinstance(first, Function) and first.name in ("and", "or"):
            return self._logical(first.name, rest, dot, piped)
        arguments = [self._operand(operand, dot) for operand in rest]
        if piped is not _MISSING:
            arguments.append(piped)
        if isinstance(first, Function):
            if first.name not in _LENIENT:
                arguments = [_present(argument) for argument in arguments]
            return self._function(first.name, arguments)
        value = self._operand(first, dot, arguments)
        if arguments and not isinstance(first, Path):
            raise TemplateError(f"can't give argument to non-function {shown(value)}")
        return value

    def _logical(self, name: str, operands: list[Operand], dot: Any, piped: Any) -> Any:
        """Go's `and` and `or`: the first operand that decides; later ones are not evaluated."""
        value: Any = _MISSING
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) is (name == "or"):
                return value
        value = value if piped is _MISSING else piped
        if value is _MISSING:
            raise TemplateError(f"wrong number of args for {name}: want at least 1 got 0")
        return value

    def _function(self, name: str, arguments: list[Any]) -> Any:
        function = self._functions.get(name)
        if function is None:
            raise TemplateError(f'function "{name}" not defined')
        try:
            return function(*arguments)
        except TypeError as error:
            raise TemplateError(f"error calling {name}: {error}") from None

    def _operand(self, operand: Operand, dot: Any, arguments: list[Any] | None = None) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Variable):
            return self._variable(operand.name)
        if isinstance(operand, Function):
            return self._function(operand.name, [])
        if isinstance(operand.root, Variable):
            dot = self._variable(operand.root.name)
        elif isinstance(operand.root, Pipeline):
            dot = self._pipeline(operand.root, dot)
        return _fields(dot, operand, arguments or [])

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        raise TemplateError(f'undefined variable "{name}"')


def _fields(value: Any, path: Path, arguments: list[Any]) -> Any:
    """Follow a path; a callable at its end is a method and is called with the arguments."""
    where = "." + ".".join(path.fields)
    for name in path.fields:
        if isinstance(value, Absent):
            return value
        if value is None:
            return Absent(where, name)
        if not isinstance(value, Mapping):
            raise TemplateError(f"<{where}>: can't evaluate field {name} in type {type(value).__name__}")
        key = _key(value, name)
        value = Absent(where, name) if key is None else value[key]
    if callable(value):
        return value(*arguments)
    if arguments:
        raise TemplateError(f"<{where}>: {path.fields[-1] if path.fields else '.'} is not a method but has arguments")
    return value


def _key(value: Mapping[str, Any], name: str) -> str | None:
    """The key for `name`, which may be Go's: `.ID` and `.APIVersion` are `Id` and `ApiVersion` in JSON."""
    if name in value:
        return name
    if not name[:1].isupper():
        return None
    return next((key for key in value if key[:1].isupper() and key.lower() == name.lower()), None)


def _present(value: Any) -> Any:
    if isinstance(value, Absent):
        raise TemplateError(f'executing "" at <{value.where}>: map has no entry for key "{value.key}"')
    return value


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return iter(sorted(value.items()))
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return ((number, number) for number in range(value))
    if value is None or isinstance(value, Absent):
        return iter(())
    raise TemplateError(f"range can't iterate over {shown(value)}")
