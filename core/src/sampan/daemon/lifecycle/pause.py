"""container_pause and container_unpause: the resource driver freezes all processes of a container.

Source of the messages: moby daemon/pause.go, daemon/unpause.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.lifecycle import health
from sampan.engine import Job
from sampan.errdefs import Conflict, NotFound, SampanError, explained
from sampan.models import PauseContainer, UnpauseContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


async def container_pause(daemon: Daemon, job: Job[PauseContainer]) -> None:
    """Freeze a running container's processes. Raises `Unsupported` if the host or the driver can't."""
    await _pause(daemon, job.request.name)


@asynccontextmanager
async def paused(daemon: Daemon, container: Container) -> AsyncIterator[None]:
    """In this context, a running container is paused. If it can't be, it keeps running, as with dockerd.

    If the daemon dies in the meantime, the next one resumes the container.
    """
    try:
        await _pause(daemon, container.id, by_daemon=True)
    except SampanError as error:
        if container.state.status is Status.RUNNING:
            _log.warning("container %s goes on meanwhile: %s", container.id, error)
        yield
        return
    try:
        yield
    finally:
        with suppress(Conflict, NotFound):  # it has ended, or somebody else has resumed it
            await asyncio.shield(_unpause(daemon, container.id))


async def _pause(daemon: Daemon, name: str, *, by_daemon: bool = False) -> None:
    async with daemon.alone(name, _require_running) as container:
        container.state.paused_by_daemon = by_daemon
        if by_daemon:
            await daemon.containers.save(container)
        with explained(f"cannot pause container {container.id}"):
            await _at_rest(daemon.resources.freeze, container)
        await _note(daemon, container, Status.PAUSED, "pause")


async def _unpause(daemon: Daemon, name: str) -> None:
    async with daemon.alone(name, _require_paused) as container:
        with explained(f"Cannot unpause container {container.id}"):
            await thaw(daemon, container)


async def container_unpause(daemon: Daemon, job: Job[UnpauseContainer]) -> None:
    """Resume a paused container's processes."""
    await _unpause(daemon, job.request.name)


async def thaw(daemon: Daemon, container: Container) -> None:
    """Resume the processes. Raises `Conflict` if the container has ended in the meantime."""
    await _at_rest(daemon.resources.thaw, container)
    if container.state.status is Status.PAUSED:
        await _note(daemon, container, Status.RUNNING, "unpause")


async def reconcile(daemon: Daemon, container: Container) -> None:
    """After a restart of the daemon: ask the kernel whether the container is paused.

    If it was paused for an operation of the last daemon, it is resumed, as that operation is over.
    """
    if container.state.paused_by_daemon:
        await _try_thaw(daemon, container)
    frozen = await asyncio.to_thread(daemon.resources.is_frozen, container.id)
    status = Status.PAUSED if frozen else Status.RUNNING
    if container.state.status is status and not container.state.paused_by_daemon:
        return
    if container.state.status is not status:
        container.move(status)
    container.state.paused_by_daemon = False
    await daemon.containers.try_save(container)


async def _try_thaw(daemon: Daemon, container: Container) -> None:
    try:
        await asyncio.to_thread(daemon.resources.thaw, container.id)
    except SampanError as error:  # it must be supervised anyway
        _log.error("container %s stays paused: %s", container.id, error)


def _require_running(container: Container) -> None:
    match container.state.status:
        case Status.RUNNING:
            return
        case Status.PAUSED:
            raise Conflict(f"container {container.id} is already paused")
        case Status.RESTARTING:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        case _:
            raise _not_running(container)


def _require_paused(container: Container) -> None:
    if container.state.status is not Status.PAUSED:
        raise Conflict(f"Container {container.id} is not paused")


async def _at_rest(step: Callable[[str], None], container: Container) -> None:
    try:
        await asyncio.to_thread(step, container.id)
    except NotFound:
        raise _not_running(container) from None


async def _note(daemon: Daemon, container: Container, status: Status, action: str) -> None:
    if not container.running:
        raise _not_running(container)
    container.move(status)
    if status is Status.PAUSED:
        health.suspend(container)
    else:
        container.state.paused_by_daemon = False
        health.resume(daemon, container)
    daemon.publish(container, action)
    await daemon.containers.try_save(container)


def _not_running(container: Container) -> Conflict:
    return Conflict(f"container {container.id} is not running")
