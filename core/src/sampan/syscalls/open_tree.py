"""open_tree(2) and move_mount(2): a mount taken as a file descriptor, and put somewhere else.

Constants keep their kernel names (include/uapi/linux/mount.h). Linux 5.2 and newer.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x00000004

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_tree(path: Path) -> int:
    """A copy of the mount at `path`, detached, as a file descriptor. Raises `OSError` naming the path."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    fd = _libc.syscall(_SYS_OPEN_TREE, ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))
    if fd < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), str(path))
    return int(fd)


def move_mount(fd: int, target: Path) -> None:
    """Attach the detached mount `fd` at `target`. Raises `OSError` naming the target."""
    result = _libc.syscall(
        _SYS_MOVE_MOUNT,
        ctypes.c_int(fd),
        b"",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), str(target))
