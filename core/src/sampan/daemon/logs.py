"""container_logs, and the replay that an attach may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerLogs

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_logs(daemon: Daemon, job: Job[ContainerLogs]) -> None:
    """Send what the container has said and, if asked to follow, what it says until it ends."""
    assert job.streams is not None
    request = job.request
    container = daemon.containers.get(request.name)
    if not (request.stdout or request.stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    await job.streams.accept(multiplexed=not container.record.config.tty)
