"""Docker's filters: a name, and values of which one must match. A filter that is absent matches everything."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from sampan.daemon.regex import Regex
from sampan.errdefs import InvalidArgument
from sampan.go_text import parse_bool

Filters: TypeAlias = Mapping[str, Sequence[str]]


def checked(filters: Filters | None, known: frozenset[str]) -> Filters:
    """Return the filters. Raises `InvalidArgument` with Docker's message for one that is not `known`."""
    for name in filters or {}:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'")
    return filters or {}


def equals(filters: Filters, name: str, *values: str) -> bool:
    """Whether one of `values` is among the filter's values."""
    return name not in filters or any(value in filters[name] for value in values)


def contains(filters: Filters, name: str, value: str) -> bool:
    """Whether one of the filter's values is part of `value`."""
    return name not in filters or any(part in value for part in filters[name])


def starts(filters: Filters, name: str, value: str) -> bool:
    """Whether `value` begins with one of the filter's values."""
    return name not in filters or any(value.startswith(start) for start in filters[name])


def is_true(filters: Filters, name: str, value: bool) -> bool:
    """Whether a boolean filter asks for `value`."""
    return name not in filters or all(_boolean(name, text) is value for text in filters[name])


def matches_labels(filters: Filters, labels: Mapping[str, str] | None, *, name: str = "label") -> bool:
    """Whether the labels have every `KEY` or `KEY=VALUE` of the filter."""
    have = labels or {}
    for text in filters.get(name, ()):
        key, has_value, value = text.partition("=")
        if key not in have or (has_value and have[key] != value):
            return False
    return True


def prune_labels(filters: Filters, labels: Mapping[str, str] | None) -> bool:
    """Whether the labels match `label` and don't match `label!` (moby daemon/prune.go, matchLabels)."""
    unwanted = "label!" in filters and matches_labels(filters, labels, name="label!")
    return matches_labels(filters, labels) and not unwanted


def boolean(filters: Filters, name: str, *, default: bool) -> bool:
    """The value of a boolean filter. Raises `InvalidArgument` for anything else, or for both values."""
    values = {_boolean(name, text) for text in filters.get(name, ())}
    if len(values) > 1:
        raise InvalidArgument(f"invalid filter '{name}={_listed(filters[name])}'")
    return values.pop() if values else default


def until(filters: Filters) -> float | None:
    """The time of a prune's `until`, in seconds since the epoch. Raises `InvalidArgument` for more than one."""
    moments = times(filters, "until")
    if len(moments) > 1:
        raise InvalidArgument("more than one until filter specified")
    return moments[0] if moments else None


def integers(filters: Filters, name: str) -> list[int]:
    """The values as integers. Raises `InvalidArgument`."""
    try:
        return [int(text) for text in filters.get(name, ())]
    except ValueError:
        raise InvalidArgument(f"invalid filter '{name}={_listed(filters[name])}'") from None


def _listed(values: Sequence[str]) -> str:
    """The values as Go prints a list of strings."""
    return f"[{' '.join(values)}]"


def _boolean(name: str, text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError:
        raise InvalidArgument(f"invalid filter '{name}={text}'") from None


def matches_name(filters: Filters, name: str) -> bool:
    """Whether a pattern of the filter matches a container's name, with or without its slash, as in Docker."""
    patterns = filters.get("name", ())
    return not patterns or any(_matches(text, name) or _matches(text, f"/{name}") for text in patterns)


def _matches(pattern: str, name: str) -> bool:
    """As in Docker, an invalid pattern matches only itself."""
    try:
        return pattern == name or Regex(pattern).is_found_in(name)
    except ValueError:
        return False


def times(filters: Filters, name: str) -> list[float]:
    """The values as seconds since the epoch: a number, RFC 3339, or a duration ago such as `10m`."""
    return [_seconds(name, text) for text in filters.get(name, ())]


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    if text and (match := _DURATION.fullmatch(text)):
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return time.time() - hours * 3600 - minutes * 60 - seconds
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidArgument(f"invalid filter '{name}={text}'") from None
