"""Human-readable sizes and durations. Source: docker's go-units."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]*(?:\.[0-9]*)?)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def size(count: float, digits: int = 3) -> str:
    """A size in decimal units: `1.98MB`."""
    return _scaled(count, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), digits)


def binary_size(count: float) -> str:
    """A size in binary units: `23.54GiB`."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), 4)


def _scaled(count: float, base: float, units: tuple[str, ...], digits: int) -> str:
    at = 0
    while count >= base and at < len(units) - 1:
        count /= base
        at += 1
    return f"{count:.{digits}g}{units[at]}"


def duration_ns(text: str) -> int:
    """Parse a Go duration such as `1m30s` into nanoseconds. Raises `ValueError` with Go's message."""
    sign = -1 if text.startswith("-") else 1
    rest, total = text.lstrip("+-"), 0.0
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    while rest:
        match = _DURATION.match(rest)
        if match is None or match.group(1) in ("", "."):
            missing = rest.strip("0123456789.") == ""
            raise ValueError(f'time: {"missing unit in" if missing else "invalid"} duration "{text}"')
        total += float(match.group(1)) * _NANOSECONDS[match.group(2)]
        rest = rest[match.end() :]
    return sign * round(total)


def ago(seconds: float) -> str:
    """An approximate duration, such as `2 minutes`."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return _plural(int(seconds), "second")
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit_hours, unit_hours, name in (
        (24 * 14, 24, "day"),
        (24 * 30 * 2, 24 * 7, "week"),
        (24 * 365 * 2, 720, "month"),
    ):
        if hours < limit_hours:
            return _plural(hours // unit_hours, name)
    return _plural(int(seconds / 3600) // 24 // 365, "year")


def _plural(count: int, unit: str) -> str:
    return f"1 {unit}" if count == 1 else f"{count} {unit}s"
