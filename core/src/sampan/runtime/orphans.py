"""Reaps children that nobody waits for.

The daemon is a subreaper, so what an OCI runtime, a monitor or an exec leaves behind becomes its child. Such an
orphan stays a zombie until somebody waits for it, and a zombie in a container's PID namespace keeps that container's
init from ending.

Which children are orphans? The kernel assigns them to the main thread (kernel/exit.c, find_new_reaper), and they are
in another session, as OCI runtimes are started in a new one. What this process itself starts is a child of another
thread, or in its own session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path

from sampan.syscalls.pidfd import start_time

_DELAY_S = 0.1
_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class OrphanReaper:
    """Waits for orphans that have ended, from `start` to `stop`.

    There is one for each process, in the main thread's event loop.

    `watched` returns the pids of children that somebody else waits for.
    """

    def __init__(self, watched: Callable[[], Set[int]]) -> None:
        self._watched = watched
        self._sweep: asyncio.TimerHandle | None = None
        self._spared: list[int] = []

    def start(self) -> None:
        """Check soon after each SIGCHLD, in the running event loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look_soon)
        self._look_soon()

    def stop(self) -> None:
        """Stop checking."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._sweep is not None:
            self._sweep.cancel()

    @contextlib.contextmanager
    def sparing(self) -> Iterator[None]:
        """In this context, leave processes alone that are started from now on, as one of them will be watched."""
        now = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)
        self._spared.append(now)
        try:
            yield
        finally:
            self._spared.remove(now)
            self._look_soon()

    def _look_soon(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_DELAY_S, self._reap)

    def _reap(self) -> None:
        self._sweep = None
        watched, session = self._watched(), os.getsid(0)
        for pid in map(int, _CHILDREN.read_text().split()):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # reaped by another thread
                if pid not in watched and os.getsid(pid) != session and not self._is_spared(pid):
                    os.waitpid(pid, os.WNOHANG)

    def _is_spared(self, pid: int) -> bool:
        return bool(self._spared) and (start_time(pid) or 0) >= min(self._spared)
