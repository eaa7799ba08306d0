"""Carries out restart policies: waits, and starts containers again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.lifecycle import launch
from sampan.daemon.lifecycle.restart_policy import let_go, longer, wants_restart
from sampan.errdefs import SampanError

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


async def restarted(daemon: Daemon, container: Container) -> bool:
    """Start a container that waits for its restart, unless it is stopped or removed first.

    Returns whether it runs.
    """
    while container.state.status is Status.RESTARTING:
        if await _is_let_go_within(container, container.state.restart_delay_s):
            return False
        async with daemon.serial.hold(container.id):
            if container.state.status is Status.RESTARTING and await start_again(daemon, container):
                return True
    return False


async def start_again(daemon: Daemon, container: Container) -> bool:
    """Try one start. The caller holds the container's key. A failure is recorded in its state and the log."""
    try:
        await launch.launch(daemon, container)
    except SampanError as error:
        _log.error("container %s can't be restarted: %s", container.id, error)
        await launch.note_failure(daemon, container, error)
        container.state.restart_delay_s = longer(container.state.restart_delay_s)
        if wants_restart(container):
            container.state.restart_count += 1
        else:
            await let_go(daemon, container)
        return False
    return True


async def _is_let_go_within(container: Container, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await container.next_exit.wait()
    except TimeoutError:
        return False
    return True
