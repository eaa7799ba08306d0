"""Room on the way of a container's output."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from contextlib import ExitStack

import pytest

from sampan.runtime.buffers import widen

WIDE_BYTES = 1 << 20


def assert_wide(pipe: int) -> None:
    """As wide as can be: without CAP_SYS_RESOURCE all the pipes of a user have only so much together (pipe(7))."""
    if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) != WIDE_BYTES:
        with pytest.raises(PermissionError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, WIDE_BYTES)


@pytest.mark.skipif(os.geteuid() != 0, reason="another process's descriptors are root's")
def test_pipes_and_packet_sockets_of_a_process_are_widened_and_nothing_else_is() -> None:
    with ExitStack() as stack:
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        packets, _ = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        stream, _ = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
        before = stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        fds = (writer, packets.fileno(), stream.fileno())
        process = stack.enter_context(subprocess.Popen(["sleep", "1000"], pass_fds=fds))
        stack.callback(process.kill)
        pidfd = os.pidfd_open(process.pid)
        stack.callback(os.close, pidfd)
        widen(pidfd, process.pid)
        assert_wide(reader)
        assert packets.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 8 << 20  # the kernel counts its own too
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_a_process_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    try:
        widen(pidfd, process.pid)
    finally:
        os.close(pidfd)
