"""What the kernel reports about a unix socket's peer."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sampan.syscalls.unix_diag import peer_inode


def test_the_other_end_is_known_from_the_accept_until_it_is_closed(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection,
    ):
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        connection.connect(str(tmp_path / "socket"))
        if (before := peer_inode(connection)) is None:
            pytest.skip("this kernel has no unix_diag")
        assert before == 0
        accepted, _ = listener.accept()
        assert peer_inode(connection) == os.fstat(accepted.fileno()).st_ino
        accepted.close()
        assert peer_inode(connection) == 0
