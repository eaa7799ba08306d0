"""capset(2): the calling thread's capabilities.

Constants keep their kernel names (include/uapi/linux/capability.h).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_FOWNER = 3
CAP_FSETID = 4
CAP_MKNOD = 27
CAP_SETFCAP = 31

_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)


def capset(capabilities: Iterable[int]) -> None:
    """Set the effective and permitted sets to `capabilities`, and the inheritable set empty. Raises `OSError`."""
    mask = sum(1 << capability for capability in set(capabilities))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    sets = (_Sets * 2)(_Sets(low, low, 0), _Sets(high, high, 0))
    if _libc.capset(ctypes.byref(_Header(_LINUX_CAPABILITY_VERSION_3, 0)), sets) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"capset: {os.strerror(errno)}")


def last_capability() -> int:
    """The number of the highest capability known to this kernel."""
    fd = os.open("/proc/sys/kernel/cap_last_cap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 16))
    finally:
        os.close(fd)
