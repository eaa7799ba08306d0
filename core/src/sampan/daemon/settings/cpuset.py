"""Lists of CPUs and memory nodes (`0-2,7`). Source of rules and messages: moby pkg/sysinfo/sysinfo_linux.go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_MOST = 8192  # beyond any hardware; without it, a request's set could fill the memory (CVE-2018-20699)


def cpuset_rules(field: str, what: str, asked: str, online: Path) -> Iterator[tuple[bool, str]]:
    """What is wrong with the list `asked`; `online` is the kernel's file of what exists."""
    if not asked:
        return
    try:
        wanted = parse_list(asked)
    except ValueError as error:
        yield True, f"Invalid value {asked} for cpuset {field}: {error}"
        return
    try:
        there = online.read_text().strip()
    except FileNotFoundError:  # a kernel without memory nodes has node 0
        there = "0"
    available = f"Requested {what} are not available - requested {asked}, available: {there}"
    yield not wanted <= parse_list(there), available


def parse_list(text: str) -> set[int]:
    """The numbers in a list. Raises `ValueError` with Docker's message."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        low, high = _number(first, text), _number(last if dash else first, text)
        if high < low:
            raise ValueError(f"invalid format: {text}")
        if high > _MOST:
            raise ValueError(f"value of out range, maximum is {_MOST}")
        numbers.update(range(low, high + 1))
    return numbers


def _number(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"invalid format: {whole}")
    return int(text)
