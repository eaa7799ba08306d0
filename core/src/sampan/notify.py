"""Tells whoever started the daemon how it is: systemd by sd_notify(3), `sampand --detach` by a pipe."""

from __future__ import annotations

import contextlib
import os
import socket
import time

READY_FD_VARIABLE = "SAMPAN_READY_FD"


def notify_ready() -> None:
    """The daemon answers from now on."""
    _notify_systemd("READY=1")
    fd = os.environ.pop(READY_FD_VARIABLE, None)
    if fd is not None:
        with contextlib.suppress(BrokenPipeError):  # whoever waited has gone
            os.write(int(fd), b"ready")
        os.close(int(fd))


def notify_reloading() -> None:
    """The configuration is read again; `notify_ready` says when that is done."""
    _notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def notify_stopping() -> None:
    """The daemon is about to end."""
    _notify_systemd("STOPPING=1")


def _notify_systemd(state: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier, contextlib.suppress(OSError):
        notifier.connect(address)
        notifier.send(state.encode())
