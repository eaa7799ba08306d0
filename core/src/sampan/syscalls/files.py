"""close_range(2)."""

from __future__ import annotations

import ctypes
import os

CLOSE_RANGE_UNSHARE = 1 << 1
_LAST = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)
_libc.close_range.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_int]


def unshare_files(first: int) -> None:
    """Give the calling *thread* a file table of its own, without the files from number `first` on.

    What the thread opens from then on is its alone and is closed when it ends. Takes no longer however many files the
    process has open. Raises `OSError`.
    """
    if _libc.close_range(first, _LAST, CLOSE_RANGE_UNSHARE) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"close_range: {os.strerror(errno)}")
