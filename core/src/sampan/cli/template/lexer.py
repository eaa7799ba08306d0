"""Splits template text into tokens."""

from __future__ import annotations

import json
import re
from typing import NamedTuple


class TemplateError(ValueError):
    """The template is invalid, or does not fit the value."""


class Token(NamedTuple):
    """`kind` is text, open, close, field, variable, name, string, number, or the punctuation itself."""

    kind: str
    text: str
    value: object = None


_SPACE = " \t\r\n"
_TOKENS = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
      | (?P<char>'(?:\\.|[^'\\\n])+')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))
      | (?P<field>\.[A-Za-z_]\w*)
      | (?P<variable>\$\w*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<punctuation>:=|[|().,=])""",
    re.VERBOSE,
)


def tokens(source: str) -> list[Token]:
    """The tokens of a template. Raises `TemplateError`."""
    found: list[Token] = []
    at = 0
    while (start := source.find("{{", at)) >= 0:
        text, trimmed = source[at:start], source.startswith("- ", start + 2)
        body_at = start + 2 + trimmed
        end = _end_of_action(source, body_at)
        found.append(Token("text", text.rstrip(_SPACE) if trimmed else text))
        trim_after = source[end - 2 : end] in (" -", "\n-", "\t-")
        found += _action(source[body_at : end - trim_after])
        at = end + 2
        if trim_after:
            at += len(source[at:]) - len(source[at:].lstrip(_SPACE))
    found.append(Token("text", source[at:]))
    return [token for token in found if token.kind != "text" or token.text]


def _end_of_action(source: str, at: int) -> int:
    if source[at:].lstrip().startswith("/*"):
        end = source.find("}}", source.find("*/", at))
        if end < 0 or source.find("*/", at) < 0:
            raise TemplateError("unclosed comment")
        return end
    while at < len(source):
        if source.startswith("}}", at):
            return at
        quoted = _TOKENS.match(source, at) if source[at] in "\"`'" else None
        at = quoted.end() if quoted else at + 1
    raise TemplateError("unclosed action")


def _action(body: str) -> list[Token]:
    if body.strip().startswith("/*"):
        return []
    found, at = [Token("open", "{{")], 0
    while at < len(body):
        match = _TOKENS.match(body, at)
        if match is None:
            raise TemplateError(f"unexpected {body[at]!r} in command")
        at = match.end()
        if token := _token(str(match.lastgroup), match.group()):
            found.append(token)
    return [*found, Token("close", "}}")]


def _token(kind: str, text: str) -> Token | None:
    if kind == "space":
        # A space ends an operand: `.A .B` is two, `.A.B` is one.
        return Token("space", text)
    if kind == "string":
        return Token("literal", text, text[1:-1] if text[0] == "`" else _unquote(text))
    if kind == "char":
        return Token("literal", text, ord(_unquote(f'"{text[1:-1]}"')))
    if kind == "number":
        is_float = any(mark in text for mark in ".eE") and "x" not in text.lower()
        return Token("literal", text, float(text) if is_float else int(text, 0))
    return Token(text if kind == "punctuation" else kind, text)


def _unquote(text: str) -> str:
    try:
        return str(json.loads(text.replace("\\'", "'").replace("\\a", "\\u0007").replace("\\v", "\\u000b")))
    except ValueError:
        raise TemplateError(f"bad string {text}") from None
