"""Restart policies. Source: moby daemon/internal/restartmanager."""

from __future__ import annotations

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
    if ran_s >= _SETTLED_AFTER_S:
        return _FIRST_DELAY_S
    return float(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(state.restart_count, 16)))


async def restarted(daemon: Daemon, container: Container) -> bool:
    """Wait as the policy wants, and start the container again unless somebody stopped or removed it meanwhile.

    Answers whether it runs.
    """
    while wants_restart(container):
        if await daemon.is_closing_within(delay_s(container)):
            return False
        async with daemon.serial.hold(container.id):
            if container.state.status is not Status.EXITED or not wants_restart(container):
                return False
            if await start_again(daemon, container):
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
        return False
    return True
