"""What happens when a container's process ends: record it, free its resources, restart or remove the container."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.lifecycle import health, remove, restart_policy, restarting
from sampan.daemon.networks import connect
from sampan.daemon.reports.group_events import note_oom_kills
from sampan.daemon.volumes import volume
from sampan.errdefs import SampanError
from sampan.runtime.interface import ExitStatus

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


async def supervise(daemon: Daemon, container: Container) -> None:
    """Follow a running container until it ends, through all the restarts that its policy asks for."""
    while True:
        health.resume(daemon, container)
        status = await daemon.runtime.wait(container.id)
        await settle(daemon, container, status)
        if container.record.host_config.auto_remove and not container.is_kept:
            await remove.auto_remove(daemon, container)
            return
        if not await restarting.restarted(daemon, container):
            return


async def settle(daemon: Daemon, container: Container, status: ExitStatus) -> None:
    """Record how it ended; waiters are woken once its ports and addresses are free and its record is written.

    Whoever is told that it has stopped can rely on that, whatever becomes of the daemon. An end that the last daemon
    had recorded takes precedence over `status`, as the source of that may already be gone.
    """
    end = container.state.end = container.state.end or status
    await daemon.logs.forget(container.id)
    await daemon.journal.end(container)
    daemon.execs.forget_unstarted(container)
    health.suspend(container)
    note_oom_kills(daemon, container, await _oom_kills(daemon, container))
    releasing = asyncio.create_task(_release_ended(daemon, container), name=f"release {container.id[:12]}")
    await _try(container, lambda: connect.disconnect(daemon, container))
    volume.tell_unmounted(daemon, container)
    elapsed_ns = end.at_ns - container.state.started_at_ns
    health.suspend(container)  # an unpause that came last has resumed the checks
    exited = container.note_exit(end)
    restart_policy.consider(container)
    daemon.publish(container, "die", exitCode=str(end.code), execDuration=str(max(0, elapsed_ns) // 1_000_000_000))
    await daemon.containers.try_save(container)
    exited.set()
    await releasing


async def _release_ended(daemon: Daemon, container: Container) -> None:
    """First record how it ended, as the runtime and the cgroup lose that information when they are removed."""
    await daemon.containers.try_save(container)
    await release(daemon, container)


async def release(daemon: Daemon, container: Container) -> None:
    """Free what the container holds in the kernel and in the exec root, except its network. Every step is tried."""
    steps = (
        lambda: daemon.runtime.delete(container.id),
        lambda: daemon.volume_mounts.release(container.id),
        lambda: asyncio.to_thread(_remove_group, daemon, container.id),
        lambda: asyncio.to_thread(shutil.rmtree, container.bundle_dir, ignore_errors=True),
    )
    for step in steps:
        await _try(container, step)
    container.free.set()


async def _try(container: Container, step: Callable[[], Awaitable[None]]) -> None:
    """Run a step. Drivers are third-party code and may raise anything, but the end must be recorded anyway."""
    try:
        await step()
    except (SampanError, OSError) as error:
        _log.error("container %s: %s", container.id, error)
    except Exception:  # a bug in a driver, so the log must show where it is
        _log.exception("container %s: some of its resources may be left over", container.id)


def _remove_group(daemon: Daemon, id: str) -> None:
    """Kill processes that outlived init, as is possible in the host's PID namespace, and remove the cgroup."""
    daemon.resources.kill(id)
    daemon.resources.remove(id)


async def _oom_kills(daemon: Daemon, container: Container) -> int:
    try:
        return await asyncio.to_thread(daemon.resources.oom_kills, container.id)
    except Exception as error:  # drivers are third-party code and may raise anything
        _log.warning("container %s: can't tell whether it ran out of memory: %s", container.id, error)
        return 0
