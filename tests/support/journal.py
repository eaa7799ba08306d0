"""The server side of the journal's socket."""

import os
import socket
from pathlib import Path
from types import TracebackType


class FakeJournal:
    """Receives entries and returns them one at a time. It listens only between `open` and `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Start listening."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(30)
        self._socket.bind(str(self.path))

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self.path.unlink()

    def next(self) -> dict[str, bytes]:
        """Wait for the next entry; returns its fields."""
        assert self._socket is not None
        content, files, _, _ = socket.recv_fds(self._socket, 1 << 20, 1)
        for file in files:
            content += os.pread(file, os.fstat(file).st_size, 0)
            os.close(file)
        return parsed(content)

    def __enter__(self) -> "FakeJournal":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def parsed(entry: bytes) -> dict[str, bytes]:
    """The fields of an entry in the format of https://systemd.io/JOURNAL_NATIVE_PROTOCOL."""
    fields = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, end = rest[8 : 8 + size], rest[8 + size : 9 + size]
            assert end == b"\n"
            rest = rest[9 + size :]
        fields[name.decode()] = value
        entry = rest
    return fields
