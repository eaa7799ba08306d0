"""Buffer sizes along the path of a container's output."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.runtime.buffers import widen

_listed = Path.iterdir


def _with_one_that_is_closed_by_then(directory: Path) -> Iterator[Path]:
    yield directory / "999"
    yield from _listed(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="another process's descriptors are root's")
def test_pipes_and_packet_sockets_of_a_process_are_widened_and_nothing_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
        with monkeypatch.context() as patch:
            patch.setattr(Path, "iterdir", _with_one_that_is_closed_by_then)
            widen(pidfd, process.pid)
        assert fcntl.fcntl(reader, fcntl.F_GETPIPE_SZ) == 1 << 20
        assert packets.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 8 << 20  # the kernel doubles it
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_a_process_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    try:
        widen(pidfd, process.pid)
    finally:
        os.close(pidfd)
