"""container_restart. Source: moby daemon/restart.go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.lifecycle import start, stop
from sampan.daemon.lifecycle.stop import Ending
from sampan.engine import Job
from sampan.errdefs import explained
from sampan.models import RestartContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_restart(daemon: Daemon, job: Job[RestartContainer]) -> None:
    """Stop the container if it runs, and start it. A container run with `--rm` is not removed in between."""
    request = job.request
    container = daemon.containers.get(request.name)
    with explained(f"Cannot restart container {request.name}"):
        ending = stop.ending_of(daemon, container, request.signal, request.timeout_s)
        await _restart(daemon, container, ending)
    daemon.publish(container, "restart")


async def _restart(daemon: Daemon, container: Container, ending: Ending) -> None:
    start.require_whole(container)
    with container.kept():
        await stop.stop(daemon, container, ending)
        async with daemon.alone(container.id, start.require_whole):
            if not container.active:  # somebody else may have been quicker
                await start.start(daemon, container)
