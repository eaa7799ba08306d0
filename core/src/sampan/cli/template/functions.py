"""The functions that templates may call, and Go's formatting of values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from sampan.cli.template.lexer import TemplateError


class Absent:
    """The value of a missing field; `where` is the field as written."""

    def __init__(self, where: str, key: str) -> None:
        self.where = where
        self.key = key

    def __bool__(self) -> bool:
        return False


def shown(value: Any) -> str:
    """Format a value like Go's `%v`."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _shown_float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(shown, value)) + "]"
    return str(value)


def _shown_float(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def as_json(value: Any) -> str:
    """A value as compact JSON, without unnecessary escapes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def truth(value: Any) -> bool:
    """Go's truth: the empty value of each type is false."""
    return bool(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if value is None:
            raise TemplateError("error calling index: index of untyped nil")
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, Sequence) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise TemplateError(f"error calling index: index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise TemplateError(f"error calling index: can't index item of type {type(value).__name__}")
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    end = len(value) if end is None else end
    if not 0 <= start <= end <= len(value):
        raise TemplateError(f"error calling slice: index out of range: {end}")
    return value[start:end]


def _length(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, str | Mapping | Sequence):
        raise TemplateError(f"error calling len: len of type {type(value).__name__}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("error calling eq: missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, bool) != isinstance(second, bool) and None not in (first, second):
        raise TemplateError("error calling eq: incompatible types for comparison")
    return bool(first == second)


def _ordered(compare: Callable[[Any, Any], bool], name: str) -> Callable[[Any, Any], bool]:
    def function(first: Any, second: Any) -> bool:
        try:
            return compare(first, second)
        except TypeError:
            raise TemplateError(f"error calling {name}: incompatible types for comparison") from None

    return function


def _join(value: Any, separator: str) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return separator.join(sorted(map(shown, value.values())))
    if not isinstance(value, list | tuple):
        raise TemplateError(f"error calling join: expected slice, got {type(value).__name__}")
    return separator.join(map(shown, value))


def _split(value: Any, separator: str) -> list[str]:
    text = _text("split", value)
    return text.split(separator) if separator else list(text)


def _text(function: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"wrong type for value; expected string; got {type(value).__name__} (in {function})")
    return value


def _pad(value: Any, before: int, after: int) -> str:
    text = _text("pad", value)
    return " " * before + text + " " * after if text else text


def _truncate(value: Any, length: int) -> str:
    return _text("truncate", value)[:length]


def _title(value: Any) -> str:
    return re.sub(r"(^|\s)(\S)", lambda match: match.group(1) + match.group(2).upper(), _text("title", value))


def _printed(*values: Any) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    text = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            text += " "
        text += shown(value)
    return text


def _print_line(*values: Any) -> str:
    return " ".join(map(shown, values)) + "\n"


_VERB = re.compile(r"%([-+# 0]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])")


def _print_format(template: Any, *values: Any) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        if match.group(4) == "%":
            return "%"
        if not rest:
            return f"%!{match.group(4)}(MISSING)"
        return _formatted(match, rest.pop(0))

    text = _VERB.sub(one, _text("printf", template))
    extra = ", ".join(f"{_go_type(value)}={shown(value)}" for value in rest)
    return f"{text}%!(EXTRA {extra})" if rest else text


def _formatted(match: re.Match[str], value: Any) -> str:
    flags, width, precision, verb = match.groups()
    if verb in "sv":
        text = shown(value)
        text = text[: int(precision)] if precision else text
    elif verb == "q":
        text = json.dumps(shown(value), ensure_ascii=False)
    elif verb == "t" and isinstance(value, bool):
        text = shown(value)
    elif verb in "dxXobfeEgGc" and isinstance(value, int | float) and not isinstance(value, bool):
        return _formatted_number(flags, width, precision, verb, value)
    elif verb in "xX" and isinstance(value, str):
        text = value.encode().hex()
    else:
        text = f"%!{verb}({_go_type(value)}={shown(value)})"
    return text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))


def _formatted_number(flags: str, width: str | None, precision: str | None, verb: str, value: float) -> str:
    if verb in "dxXobc" and isinstance(value, float):
        return f"%!{verb}(float64={shown(value)})"
    if verb in "feEgG":
        value = float(value)
    align = "<" if "-" in flags else ""
    sign = "+" if "+" in flags else " " if " " in flags else ""
    zero = "0" if "0" in flags and not align else ""
    digits = f".{precision}" if precision and verb in "feEgG" else ""
    return format(value, f"{align}{sign}{'#' if '#' in flags else ''}{zero}{width or ''}{digits}{verb}")


def _go_type(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "<nil>"}
    return names.get(type(value), "map[string]interface {}" if isinstance(value, Mapping) else "[]interface {}")


def _url_query(*values: Any) -> str:
    return quote_plus(_printed(*values))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": _ordered(lambda first, second: first >= second, "ge"),
    "gt": _ordered(lambda first, second: first > second, "gt"),
    "index": _index,
    "join": _join,
    "json": as_json,
    "le": _ordered(lambda first, second: first <= second, "le"),
    "len": _length,
    "lower": lambda value: _text("lower", value).lower(),
    "lt": _ordered(lambda first, second: first < second, "lt"),
    "ne": lambda first, second: not _same(first, second),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _printed,
    "printf": _print_format,
    "println": _print_line,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncate,
    "upper": lambda value: _text("upper", value).upper(),
    "urlquery": _url_query,
}

# Column titles pass through unchanged, whatever a template does with the cells below them.
HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "split", "join", "title", "lower", "upper", "truncate"), lambda value, *_: value),
}
