"""container_attach and container_resize."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.streams import logs
from sampan.daemon.streams.detach import DEFAULT_KEYS, parse_keys
from sampan.daemon.streams.pump import Wanted, pump
from sampan.engine import Job
from sampan.errdefs import Conflict, SampanError
from sampan.models import AttachContainer, ResizeContainer
from sampan.runtime.interface import Attached

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_attach(daemon: Daemon, job: Job[AttachContainer]) -> None:
    """Connect the caller's streams to the container's; if it does not run yet, when it starts."""
    streams, request = job.require_streams(), job.request
    container = daemon.containers.get(request.name)
    _check(container, request.name)
    if request.logs:
        logs.require_readable(container)
    config = container.record.config
    keys = parse_keys(request.detach_keys or DEFAULT_KEYS)
    wanted = Wanted(
        stdin=request.stdin and config.open_stdin,
        stdout=request.stdout,
        stderr=request.stderr,
        close_stdin=config.stdin_once and not config.tty,
        detach_keys=keys if config.tty else None,
    )
    async with _joined(daemon, container) if request.stream else nullcontext() as joined:
        await streams.accept(multiplexed=not config.tty)
        daemon.publish(container, "attach")
        if request.logs:
            await logs.replay(container, streams, stdout=request.stdout, stderr=request.stderr)
        if joined is None:
            return
        try:
            attached = await joined
        except SampanError:  # the start failed; whoever started it is told why
            return
        if not await pump(streams, attached, wanted):
            daemon.publish(container, "detach")


async def container_resize(daemon: Daemon, job: Job[ResizeContainer]) -> None:
    """Set the size of the container's terminal."""
    container = daemon.containers.get(job.request.name)
    if not container.running:
        raise Conflict(f"container {container.id} is not running")
    if container.record.config.tty:
        await daemon.runtime.resize(container.id, job.request.height, job.request.width)
    size = {"height": str(job.request.height), "width": str(job.request.width)}
    daemon.publish(container, "resize", **size)


def _check(container: Container, name: str) -> None:
    if container.state.status is Status.PAUSED:
        raise Conflict(f"container {name} is paused, unpause the container before attach")
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"container {name} is restarting, wait until the container is running")


@asynccontextmanager
async def _joined(daemon: Daemon, container: Container) -> AsyncIterator[asyncio.Future[Attached]]:
    """The container's streams: at once if it runs, else when it starts. They are closed at the end of the context."""
    joined: asyncio.Future[Attached] = asyncio.get_running_loop().create_future()
    if container.running:
        joined.set_result(await daemon.runtime.attach(container.id))
    else:
        container.awaiting_start.append(joined)
    try:
        yield joined
    finally:
        joined.cancel()
        if joined in container.awaiting_start:
            container.awaiting_start.remove(joined)
        if not joined.cancelled() and joined.exception() is None:
            await joined.result().close()
