"""The journal's socket: entries in journald's native protocol.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL. One datagram is one entry, a list of fields. If an entry is too
large, it is passed in a sealed memory file, whose descriptor is the datagram's only content.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")
_LENGTH_BYTES = 8
_PATIENCE_S = 0.5
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_NOT_IN_NAMES = re.compile("[^A-Z0-9]")


class JournalSocket:
    """The journal's socket for entries. Its methods may block, and are thread-safe."""

    def __init__(self, path: Path = SOCKET) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # In the kernel, as poll(2) reports a socket without a peer as writable, and so would not wait for the
        # journal.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, int(_PATIENCE_S * 1e6)))

    def is_there(self) -> bool:
        """Whether a journal is listening."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as trial:
            return trial.connect_ex(str(self.path)) == 0

    def send(self, entry: bytes) -> None:
        """Send an encoded entry. Raises `OSError` if the journal is down.

        If it accepts nothing for half a second, that is a `BlockingIOError`.
        """
        try:
            self._socket.sendto(entry, str(self.path))
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_in_file(entry)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_in_file(self, entry: bytes) -> None:
        file = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as content:  # it has no path
                content.write(entry)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))
            self._socket.sendmsg([b""], [rights], 0, str(self.path))
        finally:
            os.close(file)


def encode(fields: Mapping[str, bytes]) -> bytes:
    """Encode the fields of an entry for the journal."""
    return b"".join(_field(name.encode(), value) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(_LENGTH_BYTES, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def field_name(text: str) -> str:
    """`text` as a field name: capitals, digits and underscores, without leading underscores.

    Source: moby daemon/logger/journald, sanitizeKeyMod.
    """
    return _NOT_IN_NAMES.sub("_", "".join(mark.upper() if "a" <= mark <= "z" else mark for mark in text)).lstrip("_")
