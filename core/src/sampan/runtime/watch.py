"""Detects how containers end, through pidfds in the event loop and conmon's files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from sampan.errdefs import NotFound, SystemFailure
from sampan.runtime.interface import ExitStatus
from sampan.runtime.layout import Layout
from sampan.runtime.record import Process, Record
from sampan.runtime.watched import WatchedContainer
from sampan.syscalls.pidfd import pidfd_open_checked, pidfd_send_signal
from sampan.syscalls.process import reap

_KILLED = 128 + signal.SIGKILL
_UNKNOWN_EXIT = 255
_KILL_PATIENCE_S = 10


class Watch:
    """The watched containers, including ended ones until they are forgotten. For one event loop."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._containers: dict[str, WatchedContainer] = {}

    def __contains__(self, id: str) -> bool:
        return id in self._containers

    def get(self, id: str) -> WatchedContainer:
        """The container. Raises `NotFound`."""
        try:
            return self._containers[id]
        except KeyError:
            raise NotFound(f"No such container: {id}") from None

    def add(self, record: Record) -> None:
        """Start watching the container."""
        loop = asyncio.get_running_loop()
        container = WatchedContainer(record, loop.create_future(), _open(record.init), _open(record.conmon))
        self._containers[record.id] = container
        if container.conmon_pidfd is None:
            self._conmon_ended(container)
        else:
            loop.add_reader(container.conmon_pidfd, self._conmon_ended, container)

    def forget(self, id: str) -> None:
        """Stop watching it."""
        self._containers.pop(id).release()

    def close(self) -> None:
        """Stop watching all containers. They keep running."""
        for id in list(self._containers):
            self.forget(id)

    async def end(self, container: WatchedContainer) -> None:
        """Kill it, and return when it has ended. Raises `SystemFailure` if it does not end."""
        if container.exit.done():
            return
        if container.init_pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                pidfd_send_signal(container.init_pidfd, signal.SIGKILL)
        try:
            await asyncio.wait_for(asyncio.shield(container.exit), _KILL_PATIENCE_S)
        except TimeoutError:
            raise SystemFailure(f"Could not kill container {container.record.id}: it does not exit") from None

    def pids(self) -> set[int]:
        """The pids that are waited for."""
        records = [container.record for container in self._containers.values()]
        processes = [process for record in records for process in (record.init, record.conmon) if process]
        execs = [running.pid for container in self._containers.values() for running in container.execs.values()]
        return {process.pid for process in processes}.union(execs)

    def _conmon_ended(self, container: WatchedContainer) -> None:
        if container.conmon_pidfd is not None:
            asyncio.get_running_loop().remove_reader(container.conmon_pidfd)
            reap(container.conmon_pidfd)
        status = _exit_status(self._layout.exit_file(container.record.id))
        if status is not None:
            container.settle(status)
        elif container.init_pidfd is None:
            container.settle(ExitStatus(_UNKNOWN_EXIT, time.time_ns()))
        else:
            self._end_unmonitored(container, container.init_pidfd)

    def _end_unmonitored(self, container: WatchedContainer, init: int) -> None:
        """conmon died before init: stdio and log are lost, so the container must end."""
        with contextlib.suppress(ProcessLookupError):
            pidfd_send_signal(init, signal.SIGKILL)
        asyncio.get_running_loop().add_reader(init, self._unmonitored_ended, container, init)

    def _unmonitored_ended(self, container: WatchedContainer, init: int) -> None:
        asyncio.get_running_loop().remove_reader(init)
        code = reap(init)  # it became our child when conmon died, unless no daemon was running then
        container.settle(ExitStatus(_KILLED if code is None else code, time.time_ns()))


def _open(process: Process | None) -> int | None:
    return None if process is None else pidfd_open_checked(process.pid, process.started)


def _exit_status(file: Path) -> ExitStatus | None:
    try:
        with file.open("rb") as opened:
            return ExitStatus(int(opened.read()), os.fstat(opened.fileno()).st_mtime_ns)
    except (FileNotFoundError, ValueError):
        return None
