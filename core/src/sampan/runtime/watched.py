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
    """The record it was started with, and what this daemon holds of it: descriptors and futures."""

    record: Record
    exit: asyncio.Future[ExitStatus]
    init_pidfd: int | None
    conmon_pidfd: int | None
    execs: dict[str, ExecProcess] = field(default_factory=dict)
    parked: list[socket.socket] = field(default_factory=list)
    control: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def bundle(self) -> Path:
        """Where its files lie."""
        return Path(self.record.bundle)

    def settle(self, status: ExitStatus) -> None:
        """It has ended, and all its output has been handed out."""
        self.exit.set_result(status)
        self._close_parked()

    def park(self, connection: socket.socket) -> None:
        """Keep a connection to conmon open until the container ends, if its end would be that of stdin."""
        if not self.record.stdin_once:
            connection.close()
            return
        self.parked.append(connection)
        if self.exit.done():
            self._close_parked()

    def widen(self) -> None:
        """Give what it says more room on its way to us. Blocks for a moment."""
        if self.record.conmon is not None and self.conmon_pidfd is not None:
            widen(self.conmon_pidfd, self.record.conmon.pid)

    def release(self) -> None:
        """Watch no longer."""
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
