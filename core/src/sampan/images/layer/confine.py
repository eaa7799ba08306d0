"""Confines the worker: after `confine`, it can reach only one directory of the file system."""

from __future__ import annotations

import os
import resource
import signal

from sampan.syscalls.capset import (
    CAP_CHOWN,
    CAP_DAC_OVERRIDE,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_MKNOD,
    CAP_SETFCAP,
    capset,
    last_capability,
)
from sampan.syscalls.landlock import (
    LANDLOCK_ACCESS_NET_BIND_TCP,
    LANDLOCK_ACCESS_NET_CONNECT_TCP,
    LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
    LANDLOCK_SCOPE_SIGNAL,
    landlock_create_ruleset,
    landlock_restrict_self,
    landlock_version,
)
from sampan.syscalls.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_REMOUNT,
    mount,
    umount2,
)
from sampan.syscalls.namespaces import CLONE_NEWNS, setns, unshare
from sampan.syscalls.pivot_root import pivot_root
from sampan.syscalls.prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    prctl,
)

# What writing a layer requires. CAP_SYS_ADMIN, for `trusted.*` attributes, is not included: with it and CAP_MKNOD, a
# process could mount the host's disk. The daemon sets those attributes afterwards.
_KEPT = (CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP)
_ADDRESS_SPACE_BYTES = 2 << 30
_OPEN_FILES = 4096
_NET_ABI = 4
_SCOPE_ABI = 6


def confine(directory: str, *, parent: int, file_bytes: int) -> None:
    """Make `directory` the root of this process, and drop all privileges that unpacking does not need.

    Devices can be created in it but not opened. The process ends with its parent. Must be called before there are
    threads, as capabilities are per thread. Raises `OSError`.
    """
    _end_with_parent(parent)
    _limit(file_bytes)
    last = last_capability()
    _change_root(directory)
    _drop_capabilities(last)
    _restrict()


def confine_in(namespace: int, *, parent: int, file_bytes: int) -> None:
    """As `confine`, with the root of the mount namespace `namespace`, a file descriptor, as the root.

    The creator of the namespace has made sure that it is private and that nothing in it can be executed or opened as
    a device. Processes in it that share our PID namespace can't inspect this one.
    """
    _end_with_parent(parent)
    _limit(file_bytes)
    last = last_capability()
    setns(namespace, CLONE_NEWNS)
    os.close(namespace)
    os.chdir("/")
    _drop_capabilities(last)
    prctl(PR_SET_DUMPABLE, 0)
    _restrict()


def _end_with_parent(parent: int) -> None:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the daemon is gone")


def _limit(file_bytes: int) -> None:
    for kind, bound in (
        (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (value, value))


def _change_root(directory: str) -> None:
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount(directory, directory, None, MS_BIND)
    mount(None, directory, None, MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOSUID | MS_NOEXEC)
    os.chdir(directory)
    # Stacks the new root on the old one, and then detaches the old one (pivot_root(2), NOTES).
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)
    os.chdir("/")


def _drop_capabilities(last: int) -> None:
    for capability in range(last + 1):
        if capability not in _KEPT:
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    capset(_KEPT)
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _restrict() -> None:
    """No TCP, no signals to others, no abstract sockets, if the kernel has Landlock."""
    version = landlock_version()
    if version < _NET_ABI:
        return
    ruleset = landlock_create_ruleset(
        handled_access_net=LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP,
        scoped=LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL if version >= _SCOPE_ABI else 0,
    )
    landlock_restrict_self(ruleset)
    os.close(ruleset)
