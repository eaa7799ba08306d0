"""timerfd_create(2): a timer to poll, more precise than the timeout of epoll_wait(2), which is in milliseconds."""

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
    """Create a disarmed timer on the monotonic clock; its descriptor is non-blocking. Raises `OSError`."""
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return fd


def timerfd_settime(fd: int, nanoseconds: int) -> None:
    """Make `fd` readable once, after this time. Raises `OSError`."""
    when = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
    if _libc.timerfd_settime(fd, 0, ctypes.byref(when), None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
