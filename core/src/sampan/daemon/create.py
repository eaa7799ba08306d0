"""container_create: from a configuration to a container that is ready to start."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from sampan.daemon import checks, copyup
from sampan.daemon.connect import network_mode
from sampan.daemon.container import CONTAINER_LABEL, Record
from sampan.daemon.merge import command_line, merge
from sampan.daemon.names import check_name, random_name
from sampan.daemon.points import mount_points
from sampan.engine import Job
from sampan.errdefs import Conflict, NotFound
from sampan.images.platform import Platform
from sampan.images.store import Image
from sampan.models import ContainerConfig, ContainerCreated, CreateContainer, HostConfig, LogConfig, MountPoint

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_create(daemon: Daemon, job: Job[CreateContainer]) -> ContainerCreated:
    """Make a container of an image: its name, volumes, writable snapshot and record, all or nothing."""
    request = job.request
    warnings = await checks.check(daemon, request)
    host = _complete(daemon, request.host_config)
    image = daemon.images.get(request.config.image)
    _check_platform(request, image)
    config = merge(request.config, ContainerConfig.model_validate(image.config.get("config") or {}))
    async with AsyncExitStack() as undo:
        id = secrets.token_hex(32)
        name = _reserve_name(daemon, request.name, id, undo)
        config.hostname = config.hostname or ("" if host.network_mode == "host" else id[:12])
        points = mount_points(config, host)
        record = Record(
            id=id,
            name=name,
            image_id=str(image.id),
            image_name=request.config.image,
            config=config,
            host_config=host,
            networks=checks.networks_of(request),
            mounts=points,
            args=command_line(config),
        )
        with daemon.making(id, points):
            await _make_volumes(daemon, points, undo)
            await _make_snapshot(daemon, id, image, undo)
            await copyup.copy_up(daemon, id, points)
            container = daemon.containers.make(record)
            await asyncio.to_thread(container.dir.mkdir, mode=0o710)
            undo.callback(container.dir.rmdir)
            await daemon.containers.add(container)
            undo.pop_all()
    daemon.publish(container, "create")
    return ContainerCreated(id=id, warnings=warnings)


def _complete(daemon: Daemon, asked: HostConfig) -> HostConfig:
    """What the engine says where the user said nothing, so that inspect tells it too.

    Source: moby daemon/daemon_unix.go, adaptContainerSettings, and daemon/logs.go, mergeAndVerifyLogConfig.
    """
    host = asked.model_copy()
    host.network_mode = network_mode(asked)
    host.log_config = LogConfig(type=asked.log_config.type or "json-file", config=asked.log_config.config or {})
    host.ipc_mode = asked.ipc_mode or "private"
    host.cgroupns_mode = asked.cgroupns_mode or "private"
    host.shm_size = asked.shm_size or daemon.settings.shm_bytes
    host.memory_swap = asked.memory_swap or asked.memory * 2
    return host


def _check_platform(request: CreateContainer, image: Image) -> None:
    has = Platform.of(image.config)
    if request.platform and not (wanted := Platform.parse(request.platform)).runs(has):
        raise NotFound(
            f"image with reference {request.config.image} was found but its platform ({has}) does not match the "
            f"specified platform ({wanted})"
        )


def _reserve_name(daemon: Daemon, asked: str | None, id: str, undo: AsyncExitStack) -> str:
    name = check_name(asked) if asked else random_name(digit=False)
    while not asked and daemon.containers.taken(name):
        name = random_name(digit=True)
    daemon.containers.reserve(name, id)
    undo.callback(daemon.containers.release, name)
    return name


async def _make_volumes(daemon: Daemon, points: list[MountPoint], undo: AsyncExitStack) -> None:
    for point in points:
        if point.type != "volume":
            continue
        record, is_new = await daemon.volumes.create(point.name or "", driver=point.driver or "")
        if is_new:
            undo.push_async_callback(_unmake_volume, daemon, record.name)
            daemon.events.publish("volume", "create", record.name, {"driver": "local"})
        point.name, point.source = record.name, str(daemon.volumes.path(record.name))


async def _unmake_volume(daemon: Daemon, name: str) -> None:
    with suppress(Conflict):  # another container has got it meanwhile
        await daemon.volumes.remove(name, partial(daemon.volume_users, name))


async def _make_snapshot(daemon: Daemon, id: str, image: Image, undo: AsyncExitStack) -> None:
    parent = await daemon.images.init_snapshot(image)
    await asyncio.to_thread(daemon.storage.prepare, id, parent, labels={CONTAINER_LABEL: id})
    undo.push_async_callback(asyncio.to_thread, daemon.storage.remove, id)
