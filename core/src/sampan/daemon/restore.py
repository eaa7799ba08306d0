"""What a daemon does on start: adopts running containers, completes what was half done, frees what has no owner."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from sampan.daemon.clock import now_ns
from sampan.daemon.container import CONTAINER_LABEL, Container, Status
from sampan.daemon.lifecycle import pause, remove, restart_policy, restarting, supervise, update
from sampan.daemon.networks import connect, hosts
from sampan.daemon.reports.group_events import note_oom_kills
from sampan.daemon.settings.log_options import is_kept
from sampan.daemon.volumes import volume
from sampan.errdefs import Conflict, NotFound, SampanError
from sampan.images.mounted import unmount_left
from sampan.runtime.interface import ExitStatus

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_ENDED = (Status.EXITED, Status.RESTARTING)
_LOST_EXIT_CODE = 255  # Docker's, for an exit that nobody saw


async def restore(daemon: Daemon) -> None:
    """Reconcile records, drivers and kernel. Problems with one container are logged and don't affect the others."""
    daemon.containers.load()
    daemon.volumes.load()
    await daemon.volumes.reconcile()
    for container in daemon.containers:
        try:
            await _restore(daemon, container)
        except (SampanError, OSError) as error:
            _log.error("container %s can't be restored: %s", container.id, error)
    await _free_unowned(daemon)
    await daemon.volume_mounts.settle()


async def _restore(daemon: Daemon, container: Container) -> None:
    if not container.readable:  # it can't be managed if it runs; its files stay until somebody removes it
        await _clear(daemon, container)
        return
    match container.state.status:
        case Status.RUNNING | Status.PAUSED:
            await _adopt(daemon, container)
        case Status.REMOVING | Status.DEAD:
            container.state.status = Status.DEAD
            volumes = container.state.removed_with_volumes or container.record.host_config.auto_remove
            await remove.discard(daemon, container, volumes=volumes)
        case Status.CREATED | Status.EXITED | Status.RESTARTING:
            await _clear(daemon, container)
            daemon.journal.tell_rest(container)
            if container.record.host_config.auto_remove and container.state.status is Status.EXITED:
                await remove.discard(daemon, container, volumes=True)


async def _adopt(daemon: Daemon, container: Container) -> None:
    """Take over a container that ran when the last daemon ended, or record what became of it."""
    daemon.journal.tell(container)
    try:
        pid = await daemon.runtime.adopt(container.id)
    except NotFound:  # the host was restarted
        await _clear(daemon, container)
        container.free.set()
        await supervise.settle(daemon, container, ExitStatus(_LOST_EXIT_CODE, now_ns()))
        return
    container.free.clear()
    if is_kept(container.record.host_config.log_config):
        await daemon.logs.keep(container.id, container.log)
    if pid is not None:
        try:
            await _take_over(daemon, container, pid)
        except (SampanError, OSError) as error:  # its end must be recorded, whatever is missing
            _log.error("container %s is not wholly taken over: %s", container.id, error)
    daemon.spawn(supervise.supervise(daemon, container), f"supervise {container.id[:12]}")


async def _take_over(daemon: Daemon, container: Container, pid: int) -> None:
    """Restore what belongs to a running container. Its init may have ended in the meantime."""
    container.state.pid = pid
    daemon.volume_mounts.adopt(container.id, container.record.mounts)
    if connect.has_own_sandbox(container):
        daemon.networks.adopt_sandbox(container.id, pid)
        await hosts.serve_names(daemon, container)
    await pause.reconcile(daemon, container)
    await _adopt_group(daemon, container)
    _log.info("container %s runs on", container.id[:12])


async def _adopt_group(daemon: Daemon, container: Container) -> None:
    """Report the group's OOM kills since then, and set limits and alerts to those of the record.

    An update is recorded before it is applied, so the last daemon may have ended between the two.
    """
    try:
        note_oom_kills(daemon, container, await asyncio.to_thread(daemon.resources.oom_kills, container.id))
        await asyncio.to_thread(daemon.resources.update, container.id, update.limits_of(container.record.host_config))
    except SampanError as error:  # it must be supervised anyway
        _log.error("container %s runs on without all of its limits: %s", container.id, error)


async def _clear(daemon: Daemon, container: Container) -> None:
    """Free what is left of a start that was interrupted by a kill."""
    await daemon.networks.release_sandbox(container.id)
    await supervise.release(daemon, container)


async def run_policies(daemon: Daemon) -> None:
    """Restart what should run according to its policy.

    That includes containers with `always` which a user has stopped (moby daemon.go).
    """
    for container in daemon.containers:
        always = container.record.host_config.restart_policy.name == "always"
        if container.state.status in _ENDED and (always or restart_policy.wants_restart(container)):
            daemon.spawn(_run_again(daemon, container), f"restart {container.id[:12]}")
        else:  # it may have been waiting for a restart when its policy was changed
            await restart_policy.let_go(daemon, container)


async def _run_again(daemon: Daemon, container: Container) -> None:
    async with daemon.serial.hold(container.id):
        container.state.restart_count = 0
        running = container.state.status in _ENDED and await restarting.start_again(daemon, container)
    if running or await restarting.restarted(daemon, container):
        await supervise.supervise(daemon, container)


async def _free_unowned(daemon: Daemon) -> None:
    """Remove what a killed daemon created for containers that have no record. Failures are logged."""
    known = {container.id for container in daemon.containers}
    for id in set(daemon.runtime.list()) - known:
        _log.warning("removing what is left of container %s, which has no record", id)
        await _try(f"container {id}", daemon.runtime.delete(id))
    for id in set(await asyncio.to_thread(lambda: list(daemon.resources.list()))) - known:
        await _try(f"cgroup {id}", asyncio.to_thread(_free_cgroup, daemon, id))
    for id in daemon.networks.owners() - known:
        await _try(f"sandbox {id}", daemon.networks.release_sandbox(id))
    await _try("files", asyncio.to_thread(_free_files, daemon, known))
    for name in [record.name for record in daemon.volumes if record.owner]:
        await _try(f"volume {name}", _free_volume(daemon, name))
    await _try("mounts", asyncio.to_thread(unmount_left, daemon.settings.exec_root))


async def _try(what: str, step: Awaitable[None]) -> None:
    try:
        await step
    except (SampanError, OSError) as error:
        _log.error("%s can't be removed: %s", what, error)


def _free_cgroup(daemon: Daemon, id: str) -> None:
    daemon.resources.kill(id)
    daemon.resources.remove(id)


async def _free_volume(daemon: Daemon, name: str) -> None:
    """Remove a volume whose owner was never fully created, or is removed, unless another container uses it by now."""
    try:
        await volume.remove(daemon, name)
    except Conflict:
        await daemon.volumes.disown(name)


def _free_files(daemon: Daemon, known: set[str]) -> None:
    for directory in (daemon.settings.data_root / "containers", daemon.settings.exec_root / "bundles"):
        for entry in directory.iterdir():
            if entry.name not in known:
                shutil.rmtree(entry)
    for snapshot in list(daemon.storage.list()):
        if CONTAINER_LABEL in snapshot.labels and snapshot.labels[CONTAINER_LABEL] not in known:
            daemon.storage.remove(snapshot.name)
