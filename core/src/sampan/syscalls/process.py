"""Child processes: subreaper, exit codes, waiting and killing."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def set_child_subreaper() -> None:
    """prctl(PR_SET_CHILD_SUBREAPER): orphans among our descendants become our children. Raises `OSError`."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(errno)}")


def reap(pidfd: int) -> int | None:
    """Wait for a child and return its exit code, 128+N for signal N; `None` if it is not our child."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return None
    if result is None:  # only with WNOHANG
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def ends_within(pid: int, seconds: float) -> bool:
    """Wait until an unreaped child has ended; returns whether it did in time.

    `subprocess` polls if it is given a timeout, and is late by up to 50 ms. Raises `OSError`.
    """
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(pidfd)


def kill_session(session: int) -> None:
    """SIGKILL every process in a session, including those forked meanwhile: a killed process can't fork again."""
    killed: set[int] = set()
    while found := {pid for pid in _pids() if _session(pid) == session} - killed:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
