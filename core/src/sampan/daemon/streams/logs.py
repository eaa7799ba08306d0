"""container_logs, and the replay that an attach can request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.settings.log_options import NONE
from sampan.daemon.streams.log_details import details_of
from sampan.engine import Job, Streams
from sampan.errdefs import Conflict, InvalidArgument, Unsupported
from sampan.models import ContainerLogs
from sampan.runtime import logs
from sampan.runtime.log_lines import Batch, LogQuery

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_logs(daemon: Daemon, job: Job[ContainerLogs]) -> None:
    """Send the container's output so far and, if asked to follow, what it writes until it ends."""
    streams, request = job.require_streams(), job.request
    container = daemon.containers.get(request.name)
    if not (request.stdout or request.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    if container.state.status in (Status.REMOVING, Status.DEAD):
        raise Conflict("can not get logs from container which is dead or marked for removal")
    require_readable(container)
    query = LogQuery(
        stdout=request.stdout,
        stderr=request.stderr,
        tail=request.tail,
        since_ns=request.since_ns,
        until_ns=request.until_ns,
        timestamps=request.timestamps,
        details=details_of(container.record) if request.details else b"",
    )
    ended = container.next_exit if request.follow and container.running else None
    await streams.accept(multiplexed=not container.record.config.tty)
    if ended:
        batches = logs.follow(container.log, query, changes=daemon.logs.changes, ended=ended.wait())
    else:
        batches = logs.read(container.log, query)
    await _send(streams, batches)


async def replay(container: Container, streams: Streams, *, stdout: bool, stderr: bool) -> None:
    """Send all of the container's output so far."""
    await _send(streams, logs.read(container.log, LogQuery(stdout=stdout, stderr=stderr)))


async def _send(streams: Streams, batches: AsyncGenerator[Batch, None]) -> None:
    """Send, and close the reader even if the client is gone, so that it keeps no file and no task."""
    async with aclosing(batches):
        async for batch in batches:
            for stream, content in batch:
                await streams.write(stream, content)


def require_readable(container: Container) -> None:
    """Raise `Unsupported` with Docker's message if the log is not stored."""
    if container.record.host_config.log_config.type == NONE:
        raise Unsupported("configured logging driver does not support reading")
