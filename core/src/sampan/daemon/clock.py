"""Times in Docker's formats."""

from __future__ import annotations

import time
from datetime import UTC, datetime

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero time, which stands for `never`."""


def rfc3339(time_ns: int | None) -> str:
    """UTC with nanoseconds, as Go's time.RFC3339Nano but with trailing zeros; `None` and 0 become `ZERO_TIME`."""
    if not time_ns:
        return ZERO_TIME
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def now_ns() -> int:
    """The wall clock, in nanoseconds since the epoch."""
    return time.time_ns()


def go_duration(seconds: float) -> str:
    """Format as Go formats a duration: `1m30s`, `1.5s`, `200ms`."""
    if seconds < 1:
        unit, factor = ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
        return f"{seconds * factor:.6g}{unit}"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.9g}s"
    if hours:
        return f"{int(hours)}h{int(minutes)}m{text}"
    return f"{int(minutes)}m{text}" if minutes else text


def human_duration(seconds: float) -> str:
    """Format as Docker does in `Up 2 minutes` (github.com/docker/go-units duration.go)."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(whole / 3600)
    steps = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < 60, f"{whole} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    return next((text for holds, text in steps if holds), f"{hours // 24 // 365} years")
