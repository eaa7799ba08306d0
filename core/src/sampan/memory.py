"""Returns the daemon's free memory to the kernel.

glibc keeps freed memory in arenas of the threads that allocated it: 10 MB after startup, more after a pull or a
hundred containers. It is asked to return that when the daemon is idle.
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
    """Limit the number of malloc arenas, so that threads share them. To be called before any are created."""
    if mallopt := _libc("mallopt"):
        mallopt(_M_ARENA_MAX, _ARENAS)


def settle() -> None:
    """Called after startup: exclude existing objects from garbage collection, and return free memory."""
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Return free memory to the kernel; takes some milliseconds."""
    if malloc_trim := _libc("malloc_trim"):
        malloc_trim(0)


class GiveBack(JobHook):
    """Returns free memory to the kernel once, when no job has ended for `quiet_s` seconds."""

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
    """A glibc function; `None` with musl, which lacks these and doesn't need them."""
    return getattr(ctypes.CDLL(None), function, None)
