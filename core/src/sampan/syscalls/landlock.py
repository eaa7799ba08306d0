"""Landlock: restrictions that a process imposes on itself and its children.

Constants keep their kernel names (include/uapi/linux/landlock.h).
"""

from __future__ import annotations

import ctypes
import os

LANDLOCK_ACCESS_NET_BIND_TCP = 1
LANDLOCK_ACCESS_NET_CONNECT_TCP = 2
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1
LANDLOCK_SCOPE_SIGNAL = 2

_LANDLOCK_CREATE_RULESET_VERSION = 1
_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_RESTRICT_SELF = 446


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32]


def landlock_version() -> int:
    """The ABI version: TCP is supported from 4 on, scopes from 6; 0 if the kernel has no Landlock."""
    version: int = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    return max(version, 0)


def landlock_create_ruleset(*, handled_access_net: int = 0, scoped: int = 0) -> int:
    """Create a ruleset that denies the accesses it handles; returns a file descriptor. Raises `OSError`."""
    attr = _RulesetAttr(0, handled_access_net, scoped)
    # Before ABI 6, the structure was shorter.
    size = ctypes.sizeof(attr) if scoped else ctypes.sizeof(attr) - 8
    fd: int = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.addressof(attr), size, 0)
    if fd < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"landlock_create_ruleset: {os.strerror(errno)}")
    return fd


def landlock_restrict_self(ruleset: int) -> None:
    """Enforce `ruleset` on the calling thread, which must have set no_new_privs. Raises `OSError`."""
    if _libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"landlock_restrict_self: {os.strerror(errno)}")
