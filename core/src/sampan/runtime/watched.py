"""A container under conmon as this daemon watches it: its processes, its execs, the connections kept for it."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from sampan.runtime.buffers import widen
from sampan.runtime.execution import ExecProcess
from sampan.runtime.interface import ExitStatus
from sampan.runtime.record import Record


@dataclass
class WatchedContainer:
    """The record of its creation, and what this daemon holds of it: descriptors and futures."""

    record: Record
    exit: asyncio.Future[ExitStatus]
    init_pidfd: int | None
    conmon_pidfd: int | None
    execs: dict[str, ExecProcess] = field(default_factory=dict)
    parked: list[socket.socket] = field(default_factory=list)
    control: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def bundle(self) -> Path:
        """The directory with its files."""
        return Path(self.record.bundle)

    def settle(self, status: ExitStatus) -> None:
        """Called when it has ended, and all its output has been handed out."""
        self.exit.set_result(status)
        self._close_parked()

    def park(self, connection: socket.socket) -> None:
        """Keep a connection to conmon open until the container ends, if closing it would end stdin."""
        if not self.record.stdin_once:
            connection.close()
            return
        self.parked.append(connection)
        if self.exit.done():
            self._close_parked()

    def widen(self) -> None:
        """Enlarge the buffers for its output. Blocks for a moment."""
        if self.record.conmon is not None and self.conmon_pidfd is not None:
            widen(self.conmon_pidfd, self.record.conmon.pid)

    def release(self) -> None:
        """Stop watching."""
        for fd in (self.init_pidfd, self.conmon_pidfd):
            if fd is not None:
                asyncio.get_running_loop().remove_reader(fd)
                os.close(fd)
        self.init_pidfd = self.conmon_pidfd = None
        self._close_parked()

    def _close_parked(self) -> None:
        for connection in self.parked:
            connection.close()
        self.parked.clear()
