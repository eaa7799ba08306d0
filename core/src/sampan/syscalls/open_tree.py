"""open_tree(2), move_mount(2), mount_setattr(2): clone a mount as a file descriptor, change it, and attach it.

With descriptors instead of paths, source and target can't be redirected in the meantime (CVE-2026-42306).
Constants keep their kernel names (include/uapi/linux/mount.h). Linux 5.12 and newer.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x00000004
MOVE_MOUNT_T_EMPTY_PATH = 0x00000040
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_tree(path: Path | str, *, recursive: bool = False) -> int:
    """Clone the mount at `path`, and all below it if `recursive`; returns a file descriptor of the detached mount.

    Raises `OSError` naming the path.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _syscall(_SYS_OPEN_TREE, str(path), ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags))


def move_mount(fd: int, target: Path | int) -> None:
    """Attach the detached mount `fd` at `target`, a path or a descriptor. Raises `OSError` naming the target."""
    flags = MOVE_MOUNT_F_EMPTY_PATH
    directory, path = _AT_FDCWD, b""
    if isinstance(target, int):
        flags |= MOVE_MOUNT_T_EMPTY_PATH
        directory = target
    else:
        path = os.fsencode(target)
    source = ctypes.c_int(fd), b""
    _syscall(_SYS_MOVE_MOUNT, str(target), *source, ctypes.c_int(directory), path, ctypes.c_uint(flags))


def mount_setattr(fd: int, *, attributes: int = 0, propagation: int = 0) -> None:
    """Set `attributes` and propagation (`MS_PRIVATE`…) of the open mount `fd` and all mounts below it, or of none.

    Raises `OSError`.
    """
    attr = _MountAttr(attributes, 0, propagation, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    size = ctypes.c_size_t(ctypes.sizeof(attr))
    _syscall(_SYS_MOUNT_SETATTR, "mount_setattr", ctypes.c_int(fd), b"", flags, ctypes.byref(attr), size)


def _syscall(number: int, path: str, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)
    return result
