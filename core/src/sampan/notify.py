"""Reports the daemon's state to its parent: to systemd by sd_notify(3), to `sampand --detach` by a pipe."""

from __future__ import annotations

import contextlib
import os
import socket
import time

READY_FD_VARIABLE = "SAMPAN_READY_FD"


def notify_ready() -> None:
    """Report that the daemon accepts requests."""
    _notify_systemd("READY=1")
    fd = os.environ.pop(READY_FD_VARIABLE, None)
    if fd is not None:
        with contextlib.suppress(BrokenPipeError):  # the waiting process is gone
            os.write(int(fd), b"ready")
        os.close(int(fd))


def notify_reloading() -> None:
    """Report that the configuration is being reloaded; `notify_ready` reports the end."""
    _notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def notify_stopping() -> None:
    """Report that the daemon is stopping."""
    _notify_systemd("STOPPING=1")


def _notify_systemd(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier, contextlib.suppress(OSError):
        notifier.connect(address)
        notifier.send(state.encode())
