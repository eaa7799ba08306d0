"""timerfd_create(2): a timer that poll(2) tells of, exact where epoll_wait(2) knows milliseconds only."""

from __future__ import annotations

import ctypes
import os
import time

TFD_CLOEXEC = 0o2000000
TFD_NONBLOCK = 0o4000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def timerfd_create() -> int:
    """A timer of the monotonic clock, not set; its descriptor does not block. Raises `OSError`."""
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return fd


def timerfd_settime(fd: int, nanoseconds: int) -> None:
    """Have `fd` become readable once, after that time. Raises `OSError`."""
    when = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
    if _libc.timerfd_settime(fd, 0, ctypes.byref(when), None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
