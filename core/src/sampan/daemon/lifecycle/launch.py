"""Takes a container from rest to running."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from sampan.daemon.clock import now_ns
from sampan.daemon.container import Container, Status
from sampan.daemon.filesystem.mounting import mounting
from sampan.daemon.lifecycle import health
from sampan.daemon.networks import connect, links
from sampan.daemon.networks.hosts import write_files
from sampan.daemon.settings.limits import resources_of
from sampan.daemon.settings.log_options import is_kept
from sampan.daemon.settings.placement import placement_of
from sampan.daemon.settings.process import Prepared, build_spec
from sampan.daemon.volumes import volume
from sampan.errdefs import SampanError, SystemFailure
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import Bundle

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_UNKNOWN_FAILURE = 128


async def launch(daemon: Daemon, container: Container) -> None:
    """Run the container's process, or leave nothing behind. The caller holds the container's key."""
    await container.free.wait()
    before = container.state.model_copy()
    try:
        async with AsyncExitStack() as undo:
            container.free.clear()
            undo.callback(container.free.set)
            undo.callback(setattr, container.record, "state", before)
            await _launch(daemon, container, undo)
            undo.pop_all()
    except OSError as error:  # a full disk, or a directory that somebody removed
        raise SystemFailure(f"failed to start container {container.id}: {error}") from error
    daemon.publish(container, "start")
    await _hand_late_streams(daemon, container)


async def _launch(daemon: Daemon, container: Container, undo: AsyncExitStack) -> None:
    bundle = await _prepare(daemon, container, undo)
    volume.tell_mounted(daemon, container)
    undo.callback(volume.tell_unmounted, daemon, container)
    undo.push_async_callback(daemon.runtime.delete, container.id)
    if bundle.log_path:
        undo.push_async_callback(daemon.logs.forget, container.id)
        await daemon.logs.keep(container.id, container.log)
        undo.push_async_callback(daemon.journal.end, container)
        daemon.journal.tell(container)
    connecting = asyncio.create_task(connect.connect(daemon, container))
    try:
        container.state.pid = await daemon.runtime.create(bundle)
    finally:
        await connecting
    await _hand_streams(daemon, container)
    await daemon.runtime.start(container.id)
    await _note_start(daemon, container)


async def _prepare(daemon: Daemon, container: Container, undo: AsyncExitStack) -> Bundle:
    """Prepare everything that the runtime needs: mounts, sandbox, cgroup, spec."""
    record = container.record
    links.check_running(daemon, container)
    if why_not := daemon.journal.why_not(record.host_config.log_config):
        raise SystemFailure(f"failed to initialize logging driver: {why_not}")
    undo.push_async_callback(asyncio.to_thread, shutil.rmtree, container.bundle_dir, ignore_errors=True)
    await asyncio.to_thread(_make_bundle, daemon, container)
    netns = await connect.sandbox(daemon, container, undo)
    limits, placement = resources_of(record.host_config), placement_of(record.host_config, record.own_labels)
    making = asyncio.to_thread(daemon.resources.create, container.id, limits, placement)
    limiting = asyncio.create_task(making)
    undo.push_async_callback(asyncio.to_thread, daemon.resources.remove, container.id)
    try:
        undo.push_async_callback(daemon.volume_mounts.release, container.id)
        await daemon.volume_mounts.use(container.id, record.mounts)
        rootfs = await asyncio.to_thread(daemon.storage.mounts, container.id)
        mounted = await asyncio.to_thread(mounting, daemon, container)
    finally:
        cgroup = await limiting
    record.unenforced = cgroup.warnings
    prepared = Prepared(rootfs, mounted, netns, cgroup.path)
    return _bundle(container, prepared, await build_spec(daemon, container, prepared))


def _bundle(container: Container, prepared: Prepared, spec: dict[str, Any]) -> Bundle:
    record = container.record
    return Bundle(
        id=container.id,
        dir=container.bundle_dir,
        spec=spec,
        rootfs=tuple(prepared.rootfs),
        trees=prepared.mounted.trees,
        terminal=record.config.tty,
        stdin=record.config.open_stdin,
        stdin_once=record.config.stdin_once,
        log_path=container.log.path if is_kept(record.host_config.log_config) else None,
        log_max_bytes=container.log.limits.monitor_bytes,
        runtime=record.host_config.runtime or None,
    )


def _make_bundle(daemon: Daemon, container: Container) -> None:
    container.bundle_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_files(daemon, container)
    if is_kept(container.record.host_config.log_config):
        container.log.begin()


async def _hand_streams(daemon: Daemon, container: Container) -> None:
    """Attach clients that are waiting for the start, so that they miss no output."""
    while container.awaiting_start:
        attached = await daemon.runtime.attach(container.id)
        waiting = container.awaiting_start.pop(0) if container.awaiting_start else None
        if waiting is None or waiting.done():  # gone in the meantime
            await attached.close()
        else:
            waiting.set_result(attached)


async def _hand_late_streams(daemon: Daemon, container: Container) -> None:
    """Do the same for those who came after init was released but before the container was marked as running."""
    try:
        await _hand_streams(daemon, container)
    except SampanError as error:  # it has ended already
        container.turn_away(error)


async def _note_start(daemon: Daemon, container: Container) -> None:
    container.move(Status.RUNNING)
    state = container.state
    state.started_at_ns, state.exit_code, state.error = now_ns(), 0, ""
    state.oom_killed = state.stopped_by_user = state.ended_as_unhealthy = False
    state.oom_kills = 0
    health.begin(container)
    await daemon.containers.save(container)


async def note_failure(daemon: Daemon, container: Container, error: Exception) -> None:
    """Record a failed start as Docker does: the state as before, with the exit code and the error."""
    container.turn_away(error)
    state = container.state
    state.pid, state.error = 0, str(error)
    state.exit_code = error.exit_code if isinstance(error, StartFailure) else _UNKNOWN_FAILURE
    await daemon.containers.try_save(container)
