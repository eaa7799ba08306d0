"""Sandboxes: the network namespaces of containers, created in advance.

A sandbox is held by an open descriptor of the daemon and, once the container runs, by its processes; never by a
mount. So if the daemon is killed, the kernel removes every namespace without a container, and after a restart the
others are found through the container's pid.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from sampan.errdefs import NotFound, SystemFailure
from sampan.network.kernel import SandboxKernel
from sampan.network.records import SandboxRecord

_log = logging.getLogger(__name__)
_REFILL_DELAY_S = 0.2


class Sandboxes:
    """The sandboxes in use, by container, and a few spare ones. Used from the event loop only."""

    def __init__(self, kernel: SandboxKernel, *, warm: int) -> None:
        """Keep `warm` spare namespaces."""
        self.kernel = kernel
        self._target = warm
        self._warm: list[int] = []
        self._used: dict[str, int] = {}
        self._refill: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Start to create namespaces in advance."""
        if self._closed:
            return
        if self._refill is None or self._refill.done():
            self._refill = asyncio.create_task(self._fill())

    async def close(self) -> None:
        """Release everything; the sandboxes of running containers live on in their processes."""
        self._closed = True
        if self._refill is not None:
            await self._refill
        for fd in (*self._warm, *self._used.values()):
            os.close(fd)
        self._warm.clear()
        self._used.clear()

    async def acquire(self, container_id: str) -> SandboxRecord:
        """The container's sandbox, created if it has none. Raises `SystemFailure`."""
        if container_id not in self._used:
            fd = self._warm.pop() if self._warm else await asyncio.to_thread(self.kernel.make)
            self._used[container_id] = fd
            # Creating one takes the kernel some 10 ms, which should not compete with the start that uses this one.
            asyncio.get_running_loop().call_later(_REFILL_DELAY_S, self.start)
        return self.get(container_id)

    def adopt(self, container_id: str, pid: int) -> SandboxRecord:
        """Hold the sandbox that the running process `pid` is in. Raises `NotFound` if it is gone."""
        if container_id not in self._used:
            try:
                self._used[container_id] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise NotFound(f"container {container_id} has no network namespace: process {pid} is gone") from error
        return self.get(container_id)

    def get(self, container_id: str) -> SandboxRecord:
        """The container's sandbox. Raises `NotFound`."""
        return SandboxRecord(container_id, Path(f"/proc/{os.getpid()}/fd/{self.fd(container_id)}"))

    def fd(self, container_id: str) -> int:
        """The namespace as a descriptor that stays open until `release`. Raises `NotFound`."""
        try:
            return self._used[container_id]
        except KeyError:
            raise NotFound(f"container {container_id} has no sandbox") from None

    def release(self, container_id: str) -> None:
        """Release the container's sandbox, if it has one. The kernel removes it once no process is in it."""
        if (fd := self._used.pop(container_id, None)) is not None:
            os.close(fd)

    def owners(self) -> set[str]:
        """The containers that have a sandbox."""
        return set(self._used)

    async def _fill(self) -> None:
        while len(self._warm) < self._target:
            try:
                self._warm.append(await asyncio.to_thread(self.kernel.make))
            except SystemFailure as error:
                _log.warning("no spare network namespace could be created: %s", error)
                return
