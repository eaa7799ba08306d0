"""Children that nobody waits for.

The daemon is a subreaper, so whatever an OCI runtime, a monitor or an exec leaves behind becomes its child. Such an
orphan stays a zombie until somebody waits for it, and a zombie in a container's PID namespace keeps that container's
init from ending. Which children are whose the kernel does not tell; but whoever starts a process waits for it: so
what is still a zombie some time after the kernel told of it is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from sampan.syscalls.pidfd import is_zombie

_GRACE_S = 0.5


class OrphanReaper:
    """Waits for the children that nobody else waits for, from `start` to `stop`. One for each process."""

    def __init__(self) -> None:
        self._sweep: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look after each SIGCHLD, in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._child_ended)
        self._child_ended()

    def stop(self) -> None:
        """Look no more."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._sweep is not None:
            self._sweep.cancel()

    def _child_ended(self) -> None:
        if self._sweep is None and (ended := frozenset(_zombies())):
            self._sweep = asyncio.get_running_loop().call_later(_GRACE_S, self._reap, ended)

    def _reap(self, ended: frozenset[int]) -> None:
        """Wait for those that have been zombies all the time; others may have ended meanwhile."""
        self._sweep = None
        for pid in ended.intersection(_zombies()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._child_ended()


def _zombies() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except FileNotFoundError:  # a thread that has just ended
            continue
        yield from (int(pid) for pid in children if is_zombie(int(pid)))
