"""Restart policies. Source: moby daemon/internal/restartmanager and daemon/monitor.go."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sampan.daemon import launch
from sampan.daemon.container import Container, Status
from sampan.errdefs import SampanError

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 60.0
_SETTLED_AFTER_S = 10.0


def wants_restart(container: Container) -> bool:
    """Whether the policy asks for another start of a container that has just ended."""
    state, policy = container.state, container.record.host_config.restart_policy
    if state.stopped_by_user:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            most = policy.maximum_retry_count
            return state.exit_code != 0 and (most == 0 or state.restart_count < most)
        case _:
            return False


def delay_s(container: Container) -> float:
    """How long to wait before the next start: doubled each time, from 100 ms to a minute, anew after a good run."""
    state = container.state
    ran_s = (state.finished_at_ns - state.started_at_ns) / 1e9
    if not state.restart_delay_s or ran_s >= _SETTLED_AFTER_S:
        return _FIRST_DELAY_S
    return _longer(state.restart_delay_s)


def consider(container: Container) -> None:
    """Have a container that has just ended wait for its next start, if its policy wants one."""
    if wants_restart(container):
        container.state.restart_delay_s = delay_s(container)
        container.move(Status.RESTARTING)


async def restarted(daemon: Daemon, container: Container) -> bool:
    """Start a container that waits for it, unless somebody stops or removes it meanwhile. Answers whether it runs."""
    while container.state.status is Status.RESTARTING:
        if await _is_let_go_within(container, container.state.restart_delay_s):
            return False
        async with daemon.serial.hold(container.id):
            if container.state.status is Status.RESTARTING and await start_again(daemon, container):
                return True
    return False


async def start_again(daemon: Daemon, container: Container) -> bool:
    """One more start. Whoever calls it holds the container's key. A failure is noted in its state and the log."""
    container.state.restart_count += 1
    try:
        await launch.launch(daemon, container)
    except SampanError as error:
        _log.error("container %s can't be restarted: %s", container.id, error)
        await launch.note_failure(daemon, container, error)
        container.state.restart_delay_s = _longer(container.state.restart_delay_s)
        if not wants_restart(container):
            await let_go(daemon, container)
        return False
    return True


async def let_go(daemon: Daemon, container: Container) -> None:
    """Have a container that waits for its next start stay as it is. Whoever calls it holds the container's key."""
    if container.state.status is Status.RESTARTING:
        container.move(Status.EXITED)
        container.tell_exit()
        await daemon.containers.try_save(container)


async def _is_let_go_within(container: Container, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await container.next_exit.wait()
    except TimeoutError:
        return False
    return True


def _longer(delay_s: float) -> float:
    return min(_LONGEST_DELAY_S, 2 * delay_s)
