"""container_kill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.lifecycle import restart_policy, stop
from sampan.daemon.settings.signals import SIGKILL, SIGTERM, parse_signal
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.models import KillContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_kill(daemon: Daemon, job: Job[KillContainer]) -> None:
    """Send a signal to the container's init. Waits for no lock and no slot, as it must reach a container that hangs.

    A signal meant to end it records that its user wants it stopped; any other leaves its restart policy alone.
    """
    number = parse_signal(job.request.signal) if job.request.signal else SIGKILL
    container = _get(daemon, job.request.name)
    if container.state.status is Status.RESTARTING and await _call_off_restart(daemon, container):
        return
    if not container.running:
        raise Conflict(f"cannot kill container: {job.request.name}: container {container.id} is not running")
    if number in (SIGKILL, SIGTERM, stop.stop_signal(container)):
        await restart_policy.call_off(daemon, container)
    if number == SIGKILL:
        await stop.end(daemon, container)
    else:
        await stop.send(daemon, container, number)


def _get(daemon: Daemon, name: str) -> Container:
    try:
        return daemon.containers.get(name)
    except (NotFound, InvalidArgument) as error:
        raise type(error)(f"cannot kill container: {name}: {error}") from None


async def _call_off_restart(daemon: Daemon, container: Container) -> bool:
    """Returns whether it was still waiting for its restart when the lock was acquired."""
    async with daemon.alone(container.id):
        if container.state.status is not Status.RESTARTING:
            return False
        await restart_policy.call_off(daemon, container)
        await restart_policy.let_go(daemon, container)
        return True
