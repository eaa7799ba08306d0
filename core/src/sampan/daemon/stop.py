"""container_stop and container_kill."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.daemon import restart
from sampan.daemon.container import Container, Status
from sampan.daemon.signals import parse_signal
from sampan.engine import Job
from sampan.errdefs import Conflict, NotFound, NotModified, SystemFailure
from sampan.models import KillContainer, StopContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

SIGTERM, SIGKILL = 15, 9
_KILL_DEADLINE_S = 10.0


async def container_stop(daemon: Daemon, job: Job[StopContainer]) -> None:
    """Ask the container to end, and end it when its time is over. `NotModified` if it does not run."""
    container = daemon.containers.get(job.request.name)
    signal = parse_signal(job.request.signal) if job.request.signal else None
    if not container.active:
        raise NotModified("container is already stopped")
    if container.running:
        await stop(daemon, container, signal=signal, timeout_s=job.request.timeout_s)
    else:
        await _call_off_restart(daemon, container)
    daemon.publish(container, "stop")


async def stop(
    daemon: Daemon, container: Container, *, signal: int | None = None, timeout_s: int | None = None
) -> None:
    """Stop a running container; a negative timeout waits for ever. Returns when it has ended."""
    config = container.record.config
    if signal is None:
        signal = parse_signal(config.stop_signal) if config.stop_signal else SIGTERM
    if timeout_s is None:
        timeout_s = config.stop_timeout if config.stop_timeout is not None else daemon.settings.stop_timeout_s
    exited = container.next_exit
    container.state.stopped_by_user = True
    await _send(daemon, container, signal)
    try:
        async with asyncio.timeout(timeout_s if timeout_s >= 0 else None):
            await exited.wait()
    except TimeoutError:
        await end(daemon, container)


async def container_kill(daemon: Daemon, job: Job[KillContainer]) -> None:
    """Send a signal to the container's init. It waits for no turn and no slot: it must reach a stop that hangs."""
    number = parse_signal(job.request.signal) if job.request.signal else SIGKILL
    container = daemon.containers.get(job.request.name)
    if container.state.status is Status.RESTARTING:
        async with daemon.serial.hold(container.id):
            if await _call_off_restart(daemon, container):
                return
    if not container.running:
        raise Conflict(f"cannot kill container: {job.request.name}: container {container.id} is not running")
    if number in (SIGKILL, SIGTERM) or number == _stop_signal(container):
        container.state.stopped_by_user = True
    if number == SIGKILL:
        await end(daemon, container)
    else:
        await _send(daemon, container, number)


async def end(daemon: Daemon, container: Container) -> None:
    """SIGKILL every process of the container and wait for its end. Raises `SystemFailure` if that does not come."""
    exited = container.next_exit
    if not container.running:
        return
    await _send(daemon, container, SIGKILL)
    try:
        async with asyncio.timeout(_KILL_DEADLINE_S):
            await exited.wait()
    except TimeoutError:
        raise SystemFailure(f"tried to kill container {container.id}, but did not receive an exit event") from None


async def _call_off_restart(daemon: Daemon, container: Container) -> bool:
    """Answers whether it waited for its restart. Whoever calls it holds the container's key."""
    if container.state.status is not Status.RESTARTING:
        return False
    container.state.stopped_by_user = True
    await restart.let_go(daemon, container)
    return True


async def _send(daemon: Daemon, container: Container, number: int) -> None:
    daemon.publish(container, "kill", signal=str(number))
    try:
        await daemon.runtime.kill(container.id, number)
    except (Conflict, NotFound):  # it has just ended by itself, and may be cleared away already
        return


def _stop_signal(container: Container) -> int:
    text = container.record.config.stop_signal
    return parse_signal(text) if text else SIGTERM
