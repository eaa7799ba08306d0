"""Larger buffers between a container with much output, its conmon and us.

By default, a pipe holds 64 KiB and an attach socket a dozen of conmon's packets: each side sleeps until the other has
made room, some ten thousand times for 100 MB, and on a virtual machine whose processors go idle in between, most of
the time is spent on wakeups.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path

from sampan.syscalls.pidfd import pidfd_getfd

_PIPE_BYTES = 1 << 20  # what /proc/sys/fs/pipe-max-size allows everybody
_SOCKET_BYTES = 4 << 20
_SO_SNDBUFFORCE = 32  # include/uapi/asm-generic/socket.h


def widen(conmon: int, pid: int) -> None:
    """Enlarge the pipes and attach sockets of a running conmon, given by pidfd and pid, as far as possible."""
    with contextlib.suppress(OSError):  # it has ended
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed in the meantime; or Linux before 5.6
                fd = pidfd_getfd(conmon, int(one.name))
                try:
                    _widen(fd)
                finally:
                    os.close(fd)


def _widen(fd: int) -> None:
    kind = os.fstat(fd).st_mode
    if stat.S_ISFIFO(kind):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    elif stat.S_ISSOCK(kind):
        with socket.socket(fileno=os.dup(fd)) as end:
            if end.type == socket.SOCK_SEQPACKET:
                end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SOCKET_BYTES)
