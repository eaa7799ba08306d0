"""What a client sees, normalized to compare two engines: ids, times, addresses and pids are replaced."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

ZERO_TIMES = frozenset({"0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"})
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), label)
    for pattern, label in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( UTC)?", "<time>"),
        (r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
        (r"\b(?:172|10|192)\.\d+\.\d+\.\d+(?:/\d+)?\b", "<address>"),
        (r"(?:Less than a|About an?|\d+) (?:second|minute|hour|day|week|month|year)s?\b", "<while>"),
        (r"(?<![0-9a-f:])[0-9a-f]{64}\b", "<hex64>"),
        (r"(?<![0-9a-f:])(?=[0-9a-f]*\d)[0-9a-f]{12}\b", "<hex12>"),
    )
)
_NUMBERS = frozenset({"Created", "Pid", "time", "timeNano", "execDuration", "Ctime"})
"""Fields whose numbers are times or pids; 0 is kept, the rest become `<number>`."""

_UNORDERED: Mapping[str, str] = {
    "Mounts": "Destination",
    "Volumes": "Name",
    "Networks": "Name",
    "Ports": "PrivatePort",
    "Images": "Id",
}
"""Lists that Docker builds from a Go map, in random order, and the field to sort each by."""

_BY = {"Kind": "Path", "RepoTags": "Id"}
"""Unordered lists that are a whole answer: a field that identifies each, and the one to sort by."""


class Words:
    """Replaces names specific to one engine, such as ids it assigned and its directories, with labels."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)

    def know(self, value: str, label: str) -> None:
        """From now on replace `value` with `<label>`, and an id's first twelve digits with `<label:12>`."""
        self._names[value] = f"<{label}>"
        if re.fullmatch("[0-9a-f]{64}", value):
            self._names[value[:12]] = f"<{label}:12>"

    def plain(self, text: str) -> str:
        """The text without anything specific to one engine."""
        for value in sorted(self._names, key=len, reverse=True):
            text = text.replace(value, self._names[value])
        if text in ZERO_TIMES:
            return text
        for pattern, label in _PATTERNS:
            text = pattern.sub(label, text)
        return text

    def flat(self, value: Any, path: str = "") -> dict[str, Any]:
        """A document's leaves by path (`State.Pid`, `Mounts[0].Type`), without anything specific to one engine."""
        return dict(self._leaves(value, path))

    def _leaves(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                yield from self._leaves(inner, f"{path}.{self.plain(str(name))}" if path else self.plain(str(name)))
        elif isinstance(value, list) and value:
            for at, inner in enumerate(_ordered(path, value)):
                yield from self._leaves(inner, f"{path}[{at}]")
        else:
            yield path, self._leaf(path, value)

    def _leaf(self, path: str, value: Any) -> Any:
        name = re.split(r"[.\[]", path)[-1]
        if name in _NUMBERS and value not in (0, "0", "", None) and str(value).lstrip("-").isdigit():
            return "<number>"
        return self.plain(value) if isinstance(value, str) else value


def _ordered(path: str, items: list[Any]) -> list[Any]:
    if not all(isinstance(item, dict) for item in items):
        return items
    key = _UNORDERED.get(path.rpartition(".")[2]) or next((_BY[name] for name in _BY if name in items[0]), None)
    if key is None:
        return items
    return sorted(items, key=lambda item: str(item.get(key)))


def frames(content: bytes) -> list[str] | str:
    """Multiplexed output as `1 text`, adjacent frames of a stream joined; unframed output as text."""
    joined: list[tuple[int, bytes]] = []
    while len(content) >= 8 and content[0] in (0, 1, 2, 3) and content[1:4] == b"\0\0\0":
        size = int.from_bytes(content[4:8], "big")
        stream, piece, content = content[0], content[8 : 8 + size], content[8 + size :]
        if joined and joined[-1][0] == stream:
            piece = joined.pop()[1] + piece
        joined.append((stream, piece))
    if content or not joined:
        return content.decode(errors="replace")
    return [f"{stream} {piece.decode(errors='replace')}" for stream, piece in joined]
