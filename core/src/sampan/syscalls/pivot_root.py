"""pivot_root(2): changes the root of a mount namespace."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.pivot_root.argtypes = [ctypes.c_char_p, ctypes.c_char_p]


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). Raises `OSError` naming the new root."""
    if _libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"pivot_root: {os.strerror(errno)}", new_root)
