"""unshare(2) and setns(2) for the calling thread (Python has them only since 3.12; this also works on 3.11)."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWTIME = 0x00000080
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.unshare.argtypes = [ctypes.c_int]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]


def unshare(flags: int) -> None:
    """unshare(2): gives the calling *thread* new namespaces. Raises `OSError`."""
    if _libc.unshare(flags) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"unshare: {os.strerror(errno)}")


def setns(fd: int, flags: int) -> None:
    """setns(2): moves the calling *thread* into a namespace.

    For a mount namespace, the thread must have unshared `CLONE_FS` before. Raises `OSError`.
    """
    if _libc.setns(fd, flags) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"setns: {os.strerror(errno)}")


def open_namespace(name: str) -> int:
    """Open the calling thread's namespace `name` (`mnt`, `net`, `cgroup`…); returns a file descriptor."""
    return os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
