"""Pidfds: references to processes that stay valid when a pid is reused."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PIDFD_GETFD = 438  # on every architecture (include/uapi/asm-generic/unistd.h)

_libc = ctypes.CDLL(None, use_errno=True)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2). Raises `ProcessLookupError` if there is no such process."""
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2), for any signal number. Raises `ProcessLookupError` if the process has ended."""
    signal.pidfd_send_signal(pidfd, number)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2): a duplicate of that process's descriptor `fd`. Raises `OSError`."""
    duplicate = int(_libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
    if duplicate < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return duplicate


def start_time(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; `None` if it does not exist.

    Pid and start time together identify a process within one boot (proc_pid_stat(5), field 22).
    """
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def is_zombie(pid: int) -> bool:
    """Whether `pid` has ended and its parent has not yet waited for it."""
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] in (b"Z", b"X")


def pidfd_open_checked(pid: int, started: int) -> int | None:
    """A pidfd of the process with this pid *and* start time; `None` if it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Compared after opening: if the start time still matches, the pidfd refers to that process.
    if start_time(pid) == started and not is_zombie(pid):
        return pidfd
    os.close(pidfd)
    return None


def _stat_fields(pid: int) -> list[bytes]:
    # The command name, in parentheses, may contain anything; the fields are counted from its end.
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
