"""What the daemon gives back of its memory.

glibc keeps what is freed, in an arena for each thread that allocated: after a start 10 MB, after a pull or a hundred
containers more. It is asked to give that back while nobody waits for an answer.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Any

from sampan.engine import Job, JobHook

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2
_QUIET_S = 10.0


def limit_arenas() -> None:
    """Few arenas for all threads: they fill up instead of growing side by side. To be called before there are any."""
    if mallopt := _libc("mallopt"):
        mallopt(_M_ARENA_MAX, _ARENAS)


def settle() -> None:
    """What is there after the start stays: no collection of garbage looks at it again, and what it left goes back."""
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Return free memory to the kernel; takes some milliseconds."""
    if malloc_trim := _libc("malloc_trim"):
        malloc_trim(0)


class GiveBack(JobHook):
    """Gives memory back when no job has ended for a while, once for all that have."""

    def __init__(self, quiet_s: float = _QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0

    def finished(self, job: Job[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._quiet_s, self._on_timer)

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + self._quiet_s - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._on_timer)
            return
        self._timer = None
        give_back()


def _libc(function: str) -> Any:
    """A function of glibc; musl has none of these, and needs none."""
    return getattr(ctypes.CDLL(None), function, None)
