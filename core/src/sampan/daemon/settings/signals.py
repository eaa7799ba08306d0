"""Signals by name or number, as clients send them."""

from __future__ import annotations

import re
import signal

from sampan.errdefs import InvalidArgument

SIGTERM, SIGKILL = int(signal.SIGTERM), int(signal.SIGKILL)
_REALTIME = re.compile(r"RTM(?:IN\+(\d+)|AX-(\d+))")


def parse_signal(text: str) -> int:
    """The number of `KILL`, `SIGKILL`, `9` or `RTMIN+3`. Raises `InvalidArgument` with Docker's message."""
    if text.isdecimal():
        return _checked(int(text), text)
    name = text.upper().removeprefix("SIG")
    if match := _REALTIME.fullmatch(name):
        up, down = match.groups()
        return _checked(signal.SIGRTMIN + int(up) if up else signal.SIGRTMAX - int(down), text)
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise InvalidArgument(f"invalid signal: {text}") from None


def _checked(number: int, text: str) -> int:
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidArgument(f"invalid signal: {text}")
    return number
