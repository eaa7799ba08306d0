"""container_start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.lifecycle import launch, remove, supervise
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotModified
from sampan.models import StartContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_start(daemon: Daemon, job: Job[StartContainer]) -> None:
    """Start a container. Raises `NotModified` if it is already running."""
    if job.request.checkpoint:  # experimental in Docker, and not supported by this engine
        raise InvalidArgument("checkpoint is only supported in experimental mode")
    async with daemon.alone(job.request.name, _check) as container:
        await start(daemon, container)


async def start(daemon: Daemon, container: Container) -> None:
    """Start a container that is at rest. The caller holds the container's key."""
    container.state.restart_count, container.state.restart_delay_s = 0, 0.0
    try:
        await launch.launch(daemon, container)
    except Exception as error:  # of any kind: those who wait for the start must learn of it
        await launch.note_failure(daemon, container, error)
        if container.record.host_config.auto_remove:
            daemon.spawn(remove.auto_remove(daemon, container), f"remove {container.id[:12]}")
        raise
    daemon.spawn(supervise.supervise(daemon, container), f"supervise {container.id[:12]}")


def require_whole(container: Container) -> None:
    """Raise `Conflict` for a container that is partly removed."""
    if container.gone:
        raise Conflict("container is marked for removal and cannot be started")


def _check(container: Container) -> None:
    match container.state.status:
        case Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        case Status.RUNNING | Status.RESTARTING:
            raise NotModified("container is already running")
    require_whole(container)
