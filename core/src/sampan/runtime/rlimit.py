"""A process's resource limits (setrlimit(2)), restricted to what the daemon can set on this host."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errdefs import InvalidArgument
from sampan.runtime.capabilities import is_effective

INFINITY = (1 << 64) - 1
_NAMES = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
]
_NUMBERS = {"locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15}


@dataclass(frozen=True)
class Rlimit:
    """`--ulimit NAME=SOFT:HARD`; the name as in `nofile`; -1 means no limit."""

    name: str
    soft: int
    hard: int


def clamp(limits: Iterable[Rlimit]) -> tuple[tuple[Rlimit, ...], tuple[str, ...]]:
    """The limits as they can be set here, and a sentence for each that had to be lowered.

    To exceed its own hard limit, a process needs CAP_SYS_RESOURCE, and no file limit may exceed `fs.nr_open`. Raises
    `InvalidArgument` with Docker's message for an unknown name or a soft limit above the hard one.
    """
    clamped, warnings = [], []
    for limit in limits:
        _check(limit)
        most = _most(limit.name)
        if _value(limit.hard) > most:
            warnings.append(
                f"Your host does not allow ulimit {limit.name}={limit.soft}:{limit.hard}. Limited to {most}."
            )
        clamped.append(Rlimit(limit.name, min(_value(limit.soft), most), min(_value(limit.hard), most)))
    return tuple(clamped), tuple(warnings)


def to_spec(limits: Iterable[Rlimit]) -> list[dict[str, Any]]:
    """The OCI spec's `process.rlimits`, clamped."""
    return [{"type": f"RLIMIT_{one.name.upper()}", "soft": one.soft, "hard": one.hard} for one in clamp(limits)[0]]


def _check(limit: Rlimit) -> None:
    if limit.name not in _NAMES:
        raise InvalidArgument(f"invalid ulimit type: {limit.name}")
    if _value(limit.soft) > _value(limit.hard):
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
        )


def _value(number: int) -> int:
    return INFINITY if number < 0 else number


def _most(name: str) -> int:
    number = _NUMBERS.get(name)
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}") if number is None else number)[1]
    most = INFINITY if hard < 0 or is_effective("CAP_SYS_RESOURCE") else hard
    return min(most, int(Path("/proc/sys/fs/nr_open").read_text())) if name == "nofile" else most
