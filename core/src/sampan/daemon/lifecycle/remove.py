"""container_remove: removes everything of a container except what it shares."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.filesystem.mounting import image_snapshot
from sampan.daemon.lifecycle import restart_policy, stop
from sampan.daemon.networks import links
from sampan.daemon.networks.hosts import write_files
from sampan.daemon.volumes import volume
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SampanError
from sampan.models import RemoveContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)


async def container_remove(daemon: Daemon, job: Job[RemoveContainer]) -> None:
    """Remove a container; `force` ends it first, `volumes` also removes its anonymous volumes.

    It takes the container's key only after the kill, so that it need not wait for a slow stop, and kills again if it
    had to wait for a start.
    """
    request = job.request
    if request.link:
        parent = await links.unlink(daemon, request.name)
        if parent.running:
            await asyncio.to_thread(write_files, daemon, parent)
        return
    container = daemon.containers.get(request.name)
    if container.state.status is Status.REMOVING:
        raise Conflict(f"removal of container {request.name} is already in progress")
    await _require_end(daemon, container, request)
    async with daemon.serial.hold(container.id):
        if container.id not in daemon.containers:
            return
        await _require_end(daemon, container, request)
        await discard(daemon, container, volumes=request.volumes)


async def _require_end(daemon: Daemon, container: Container, request: RemoveContainer) -> None:
    if container.active and not request.force:
        raise Conflict(f'cannot remove container "{request.name}": {_why_not(container)}')
    if container.running:
        await restart_policy.call_off(daemon, container)
        await stop.end(daemon, container)


async def discard(daemon: Daemon, container: Container, *, volumes: bool) -> None:
    """Remove a container that is not running. The caller holds the container's key."""
    container.move(Status.REMOVING)
    container.state.removed_with_volumes = volumes
    try:
        await container.free.wait()
        await daemon.containers.save(container)
        await _remove_snapshots(daemon, container)
        await daemon.journal.forget(container)
        await asyncio.to_thread(shutil.rmtree, container.dir, ignore_errors=True)
        doomed = _own_volumes(daemon, container) if volumes else []
        await daemon.containers.delete(container, also=daemon.volumes.owned(doomed, container.id))
    except BaseException as error:
        container.move(Status.DEAD)
        container.state.error = str(error)
        container.removed.set()  # those who wait for it learn that it failed
        container.tell_exit()
        raise
    container.state.error = ""
    daemon.execs.forget(container.id)
    await _free_shared(daemon, container, doomed)
    daemon.publish(container, "destroy")
    container.removed.set()
    container.tell_exit()
    container.turn_away(NotFound(f"No such container: {container.id}"))


async def remove_at_rest(daemon: Daemon, container: Container) -> bool:
    """Remove a container if it is at rest when the lock is acquired; its volumes stay. Returns whether it was."""
    async with daemon.serial.hold(container.id):
        if container.id not in daemon.containers or container.active:
            return False
        await discard(daemon, container, volumes=False)
        return True


async def auto_remove(daemon: Daemon, container: Container) -> None:
    """Remove a container that was run with `--rm` and has ended, including its anonymous volumes."""
    async with daemon.serial.hold(container.id):
        if container.id in daemon.containers and container.state.status in (Status.CREATED, Status.EXITED):
            await discard(daemon, container, volumes=True)


async def _remove_snapshots(daemon: Daemon, container: Container) -> None:
    images = [number for number, point in enumerate(container.record.mounts) if point.type == "image"]
    for key in (container.id, *(image_snapshot(container.id, number) for number in images)):
        with suppress(NotFound):  # an interrupted removal got this far
            await asyncio.to_thread(daemon.storage.remove, key)


async def _free_shared(daemon: Daemon, container: Container, volumes: Sequence[str]) -> None:
    """Free what nobody else uses.

    The container is already gone, so failures are only logged (moby daemon/delete.go).
    """
    try:
        await _collect_image(daemon, container)
        for name in volumes:
            await _remove_volume(daemon, name)
    except (SampanError, OSError) as error:
        _log.error("container %s: what it shared can't be freed: %s", container.id, error)


async def _collect_image(daemon: Daemon, container: Container) -> None:
    """Free the layers of an image that was removed by force while this container, its last one, still used them."""
    record = container.record
    mounted = [point.spec.source for point in record.mounts if point.type == "image"]
    try:
        for image_id in (record.image_id, *mounted):
            await daemon.images.note_use(daemon.images.get(image_id))
    except (NotFound, InvalidArgument):  # invalid: its record can't be read
        await daemon.images.collect_garbage()


def _own_volumes(daemon: Daemon, container: Container) -> list[str]:
    """The anonymous volumes that nobody else uses."""
    names = {point.name for point in container.record.mounts if point.type == "volume" and point.name}
    records = [record for name in names if (record := daemon.volumes.find(name))]
    return [
        record.name
        for record in records
        if record.anonymous and set(daemon.volume_users(record.name)) == {container.id}
    ]


async def _remove_volume(daemon: Daemon, name: str) -> None:
    try:
        await volume.remove(daemon, name)
    except NotFound:
        if daemon.volumes.find(name):  # its driver is no longer installed
            raise
    except Conflict:  # a container that is being created uses it by now
        await daemon.volumes.disown(name)


def _why_not(container: Container) -> str:
    if container.state.status is Status.PAUSED:
        return "container is paused and must be unpaused first"
    return f"container is {container.state.status}: stop the container before removing or force remove"
