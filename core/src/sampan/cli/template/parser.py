"""Parses tokens into a tree of NamedTuples, which `execute` walks."""

from __future__ import annotations

from typing import NamedTuple

from sampan.cli.template.lexer import TemplateError, Token, tokens


class Text(NamedTuple):
    """Literal text."""

    text: str


class Literal(NamedTuple):
    """A string, a number, true, false or nil."""

    value: object


class Path(NamedTuple):
    """Fields of the dot (`root` is `None`), of a variable, or of a pipeline in parentheses."""

    root: Variable | Pipeline | None
    fields: tuple[str, ...]


class Variable(NamedTuple):
    """`$name`; `$` is the value that the template is applied to."""

    name: str


class Function(NamedTuple):
    """A function's name."""

    name: str


Operand = Literal | Path | Variable | Function


class Call(NamedTuple):
    """One command of a pipeline: an operand and its arguments."""

    operands: tuple[Operand, ...]


class Pipeline(NamedTuple):
    """Commands, each given the previous one's result; optionally assigned to variables (`assign` is `:=` or `=`)."""

    variables: tuple[str, ...]
    assign: str
    calls: tuple[Call, ...]


class Print(NamedTuple):
    """`{{pipeline}}`."""

    pipeline: Pipeline


class Branch(NamedTuple):
    """`if`, `with` or `range` (the `kind`), and its `else`."""

    kind: str
    pipeline: Pipeline
    body: Block
    otherwise: Block


class Jump(NamedTuple):
    """`break` or `continue`."""

    kind: str


class Block(NamedTuple):
    """A sequence of nodes."""

    nodes: tuple[Text | Print | Branch | Jump, ...]


_KEYWORDS = ("if", "with", "range", "else", "end", "break", "continue", "define", "template", "block")


def parse(source: str) -> Block:
    """Parse a template into a tree. Raises `TemplateError`."""
    parser = _Parser(tokens(source))
    block, ending = parser.block()
    if ending:
        raise TemplateError(f"unexpected {{{{{ending}}}}}")
    return block


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0

    def block(self) -> tuple[Block, str]:
        """Parse nodes up to the action that ends them: "", "end" or "else" (whose rest is not read yet)."""
        nodes: list[Text | Print | Branch | Jump] = []
        while self._at < len(self._tokens):
            token = self._next()
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            self._skip_space()
            keyword = self._peek().text if self._peek().text in _KEYWORDS else ""
            if keyword:
                self._next()
            if keyword in ("end", "else"):
                return Block(tuple(nodes)), keyword
            nodes.append(self._action(keyword))
        return Block(tuple(nodes)), ""

    def _action(self, keyword: str) -> Print | Branch | Jump:
        if keyword in ("if", "with", "range"):
            return self._branch(keyword)
        if keyword in ("break", "continue"):
            self._close()
            return Jump(keyword)
        if keyword:
            raise TemplateError(f"{{{{{keyword}}}}} is not supported")
        pipeline = self._pipeline()
        self._close()
        return Print(pipeline)

    def _branch(self, kind: str) -> Branch:
        pipeline = self._pipeline()
        self._close()
        body, ending = self.block()
        otherwise = Block(())
        if ending == "else":
            self._skip_space()
            if self._peek().text in ("if", "with"):
                return Branch(kind, pipeline, body, Block((self._branch(self._next().text),)))
            self._close()
            otherwise, ending = self.block()
        if ending != "end":
            raise TemplateError(f"unexpected EOF: {{{{{kind}}}}} has no {{{{end}}}}")
        self._close()
        return Branch(kind, pipeline, body, otherwise)

    def _pipeline(self) -> Pipeline:
        variables, assign = self._variables()
        calls = [self._call()]
        while self._peek().kind == "|":
            self._next()
            calls.append(self._call())
        return Pipeline(variables, assign, tuple(calls))

    def _variables(self) -> tuple[tuple[str, ...], str]:
        start, names = self._at, []
        while True:
            self._skip_space()
            if self._peek().kind != "variable":
                break
            names.append(self._next().text)
            self._skip_space()
            if self._peek().kind in (":=", "="):
                return tuple(names), self._next().kind
            if self._peek().kind != ",":
                break
            self._next()
        self._at = start
        return (), ""

    def _call(self) -> Call:
        operands: list[Operand] = []
        while True:
            self._skip_space()
            if self._peek().kind in ("|", "close", ")"):
                break
            operands.append(self._operand())
        if not operands:
            raise TemplateError("missing value for command")
        return Call(tuple(operands))

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind == "literal":
            return Literal(token.value)
        if token.kind == "name":
            constants: dict[str, object] = {"true": True, "false": False, "nil": None}
            return Literal(constants[token.text]) if token.text in constants else Function(token.text)
        if token.kind == "variable":
            fields = self._fields()
            return Path(Variable(token.text), fields) if fields else Variable(token.text)
        if token.kind == "field":
            return Path(None, (token.text[1:], *self._fields()))
        if token.kind == ".":
            return Path(None, ())
        if token.kind == "(":
            pipeline = self._pipeline()
            if self._next().kind != ")":
                raise TemplateError("unclosed left paren")
            return Path(pipeline, self._fields())
        raise TemplateError(f"unexpected {token.text!r} in operand")

    def _fields(self) -> tuple[str, ...]:
        names = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        return tuple(names)

    def _close(self) -> None:
        self._skip_space()
        token = self._next()
        if token.kind != "close":
            raise TemplateError(f"unexpected {token.text!r} in command")

    def _skip_space(self) -> None:
        while self._peek().kind == "space":
            self._at += 1

    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else Token("end", "end of template")

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token
