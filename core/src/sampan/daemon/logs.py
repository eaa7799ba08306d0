"""container_logs, and the replay that an attach may ask for."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.engine import Job, Streams
from sampan.errdefs import Conflict, InvalidArgument
from sampan.models import ContainerLogs
from sampan.runtime import logs
from sampan.runtime.logs import Batch, LogQuery

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_logs(daemon: Daemon, job: Job[ContainerLogs]) -> None:
    """Send what the container has said and, if asked to follow, what it says until it ends."""
    streams, request = job.require_streams(), job.request
    container = daemon.containers.get(request.name)
    if not (request.stdout or request.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    if container.state.status in (Status.REMOVING, Status.DEAD):
        raise Conflict("can not get logs from container which is dead or marked for removal")
    query = LogQuery(
        stdout=request.stdout,
        stderr=request.stderr,
        tail=request.tail,
        since_ns=request.since_ns,
        until_ns=request.until_ns,
        timestamps=request.timestamps,
    )
    ended = container.next_exit.wait() if request.follow and container.running else None
    await streams.accept(multiplexed=not container.record.config.tty)
    async for batch in logs.read(container.log_path, query, ended=ended):
        await _send(streams, batch)


async def replay(container: Container, streams: Streams, *, stdout: bool, stderr: bool) -> None:
    """Send all that the container has said so far."""
    async for batch in logs.read(container.log_path, LogQuery(stdout=stdout, stderr=stderr)):
        await _send(streams, batch)


async def _send(streams: Streams, batch: Batch) -> None:
    """Lines that follow each other on one stream go out as one write."""
    for stream, lines in groupby(batch, key=itemgetter(0)):
        await streams.write(stream, b"".join(content for _, content in lines))
