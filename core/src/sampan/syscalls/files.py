"""close_range(2)."""

from __future__ import annotations

import ctypes
import os

CLOSE_RANGE_UNSHARE = 1 << 1
_LAST = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.close_range.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_int]


def unshare_files(first: int) -> None:
    """Give the calling *thread* a separate file descriptor table, with only the descriptors below `first`.

    Files that the thread opens afterwards belong to it alone and are closed when it ends. The time does not depend on
    how many files the process has open. Raises `OSError`.
    """
    if _libc.close_range(first, _LAST, CLOSE_RANGE_UNSHARE) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"close_range: {os.strerror(errno)}")
