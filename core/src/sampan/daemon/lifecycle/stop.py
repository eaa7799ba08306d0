"""container_stop: asks a container to end, and kills it if it does not.

The caller holds the container's key and a slot of the engine while it sends the signal, but not while it waits, so
that others can use the container in the meantime: a start is told that it is running, a forced removal kills it at
once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from sampan.daemon.container import Container, Status
from sampan.daemon.lifecycle import pause, restart_policy
from sampan.daemon.settings.signals import SIGKILL, SIGTERM, parse_signal
from sampan.engine import Job, idle
from sampan.errdefs import Conflict, NotFound, NotModified, SystemFailure
from sampan.models import StopContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_KILL_DEADLINE_S = 10.0


class Ending(NamedTuple):
    """The signal that asks a container to end, and the timeout in seconds; a negative one means forever."""

    signal: int
    timeout_s: int


async def container_stop(daemon: Daemon, job: Job[StopContainer]) -> None:
    """Ask the container to end, and kill it after the timeout. Raises `NotModified` if it is not running."""
    container = daemon.containers.get(job.request.name)
    ending = ending_of(daemon, container, job.request.signal, job.request.timeout_s)
    if container.gone or not await stop(daemon, container, ending):
        raise NotModified("container is already stopped")


def ending_of(daemon: Daemon, container: Container, signal: str | None, timeout_s: int | None) -> Ending:
    """What was asked for, else the container's own setting, else Docker's default. Raises `InvalidArgument`."""
    config = container.record.config
    number = parse_signal(signal) if signal else stop_signal(container)
    for seconds in (timeout_s, config.stop_timeout):
        if seconds is not None:
            return Ending(number, seconds)
    return Ending(number, daemon.settings.stop_timeout_s)


def stop_signal(container: Container) -> int:
    """The signal that asks the container to end."""
    text = container.record.config.stop_signal
    return parse_signal(text) if text else SIGTERM


async def stop(daemon: Daemon, container: Container, ending: Ending) -> bool:
    """Stop the container for its user and return when it has ended; returns whether there was something to stop.

    It is not restarted, and a pending restart is cancelled. Raises `NotFound` if the container is removed in the
    meantime.
    """
    async with daemon.alone(container.id):
        if not container.active:
            return False
        await restart_policy.call_off(daemon, container)
        exited = container.next_exit if container.running else None
        if exited:
            await send(daemon, container, ending.signal)
        else:
            await restart_policy.let_go(daemon, container)
    if exited:
        await _await_end(daemon, container, exited, ending.timeout_s)
    daemon.publish(container, "stop")
    return True


async def end_unhealthy(daemon: Daemon, container: Container) -> None:
    """Stop a container whose health check has failed for good; its restart policy then takes effect.

    Nothing is done if it has already ended or been removed, or has even been started again.
    """
    ending = ending_of(daemon, container, None, None)
    async with daemon.serial.hold(container.id):
        if not (container.running and container.state.ended_as_unhealthy):
            return
        exited = container.next_exit
        await send(daemon, container, ending.signal)
    await _await_end(daemon, container, exited, ending.timeout_s)


async def _await_end(daemon: Daemon, container: Container, exited: asyncio.Event, timeout_s: int) -> None:
    try:
        async with idle(), asyncio.timeout(timeout_s if timeout_s >= 0 else None):
            await exited.wait()
    except TimeoutError:
        await end(daemon, container)


async def end(daemon: Daemon, container: Container) -> None:
    """SIGKILL all processes of the container and wait until it has ended. Raises `SystemFailure` after a timeout."""
    exited = container.next_exit
    if not container.running:
        return
    await send(daemon, container, SIGKILL)
    try:
        async with asyncio.timeout(_KILL_DEADLINE_S):
            await exited.wait()
    except TimeoutError:
        raise SystemFailure(f"tried to kill container {container.id}, but did not receive an exit event") from None


async def send(daemon: Daemon, container: Container, number: int) -> None:
    """Send init a signal.

    If it is meant to end init, a paused container is resumed so that the signal is delivered.
    """
    daemon.publish(container, "kill", signal=str(number))
    try:
        await daemon.runtime.kill(container.id, number)
        if container.state.status is Status.PAUSED and _wakes(container, number):
            await pause.thaw(daemon, container)
    except (Conflict, NotFound):  # it has just ended, by itself or from the signal, and may already be cleared away
        return


def _wakes(container: Container, number: int) -> bool:
    """Docker's rule: any signal, unless a stop signal is set and this is another one (moby daemon/kill.go)."""
    return not container.record.config.stop_signal or number in (SIGKILL, stop_signal(container))
