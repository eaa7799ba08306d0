"""Messages about an invalid body, worded as by Go's encoding/json, as clients and users know those.

Source: Go encoding/json decode.go (UnmarshalTypeError), and moby daemon/internal/runconfig/errors.go.
"""

from __future__ import annotations

import re
import types
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_SYNTAX = re.compile(r"Invalid JSON: (.*) at line (\d+) column (\d+)")
_GO_NAMES = {
    "CreateContainerBody": "CreateRequest",
    "ExecConfig": "ExecCreateRequest",
    "ExecStartBody": "ExecStartRequest",
    "Healthcheck": "HealthConfig",
}


def complaint(error: ValidationError, model: type[BaseModel], content: bytes) -> str:
    """The first problem with `content` as a `model`, in one line."""
    problem = error.errors(include_url=False, include_context=False)[0]
    if match := _SYNTAX.fullmatch(problem["msg"]):
        return _syntax(match, content)
    owner, fields, expected = _find(model, problem)
    place = f"struct field {owner}.{'.'.join(fields)}" if fields else "value"
    return f"json: cannot unmarshal {_given(problem['input'], expected)} into Go {place} of type {expected}"


def _syntax(match: re.Match[str], content: bytes) -> str:
    what, line, column = match[1], int(match[2]), int(match[3])
    if what.startswith("EOF"):
        return "unexpected EOF"
    lines = content.decode(errors="replace").split("\n")
    character = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    return f"invalid character '{character}' looking for beginning of value" if character.isprintable() else what


def _given(value: Any, expected: str) -> str:
    """The JSON type of the given value, as Go names it."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return f"number {value}" if expected == "int64" else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _find(model: type[BaseModel], problem: ErrorDetails) -> tuple[str, list[str], str]:
    """The struct that contains the field, the path of fields that leads there, and the expected type."""
    kind: Any = model
    owner, fields = model, list[str]()
    for part in problem["loc"]:
        kind = _plain(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = next((field for name, field in kind.model_fields.items() if part in (field.alias, name)), None)
            if field is None:
                break
            fields.append(str(part))
            owner, kind = kind, field.annotation
        elif get_origin(kind) in (list, dict) and part != "[key]":
            kind = get_args(kind)[-1]
    return _name(owner), fields, _go_type(kind)


def _name(model: type[Any]) -> str:
    return _GO_NAMES.get(model.__name__, model.__name__)


def _plain(kind: Any) -> Any:
    """The type without annotations, and without `None`."""
    if get_origin(kind) in (Union, types.UnionType):
        return _plain(next(one for one in get_args(kind) if one is not type(None)))
    if hasattr(kind, "__metadata__"):
        return _plain(kind.__origin__)
    return kind


def _go_type(kind: Any) -> str:
    plain = _plain(kind)
    if plain in (int, str, bool, float):
        return {int: "int64", str: "string", bool: "bool", float: "float64"}[plain]
    arguments = get_args(plain)
    if get_origin(plain) is list:
        return f"[]{_go_type(arguments[0])}"
    if get_origin(plain) is dict:
        return f"map[string]{_go_type(arguments[1])}"
    return _name(plain) if isinstance(plain, type) and plain is not Any else "interface {}"
