"""container_create: turns a configuration into a container that is ready to start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.container import CONTAINER_LABEL, Container, Record
from sampan.daemon.filesystem.copyup import fill_volumes
from sampan.daemon.filesystem.mounting import image_snapshot
from sampan.daemon.filesystem.mounts import Point, clean
from sampan.daemon.filesystem.points import mount_points
from sampan.daemon.filesystem.rootfs import make_directory, open_rootfs
from sampan.daemon.networks import links
from sampan.daemon.networks.endpoints import networks_of
from sampan.daemon.settings import checks
from sampan.daemon.settings.defaults import complete
from sampan.daemon.settings.merge import command_line, merge
from sampan.daemon.settings.names import check_name, random_name
from sampan.daemon.settings.ports import exposed_ports
from sampan.drivers import Mount
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.images.platform import Platform
from sampan.images.store import Image
from sampan.models import ContainerConfig, ContainerCreated, CreateContainer, DriverConfig, VolumeOptions

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_create(daemon: Daemon, job: Job[CreateContainer]) -> ContainerCreated:
    """Create a container from an image: its name, volumes, writable snapshot and record, all or nothing."""
    request = job.request
    warnings = await checks.check(daemon, request)
    image = daemon.images.get(request.config.image)
    _check_platform(request, image)
    async with AsyncExitStack() as undo:
        record = _record(daemon, request, image, undo)
        with daemon.making(record):
            record.unenforced = await checks.rehearse(daemon, record)
            container = await _make(daemon, record, image, undo)
            undo.pop_all()
    daemon.publish(container, "create")
    return ContainerCreated(id=record.id, warnings=warnings)


def _record(daemon: Daemon, request: CreateContainer, image: Image, undo: AsyncExitStack) -> Record:
    """The request, completed from the daemon's defaults and the image's configuration, with a reserved name."""
    host = complete(daemon, request.host_config)
    config = _config_of(request, image)
    id = secrets.token_hex(32)
    name = _reserve_name(daemon, request.name, id, undo)
    config.hostname = config.hostname or (daemon.settings.name if host.network_mode == "host" else id[:12])
    return Record(
        id=id,
        name=name,
        image_id=str(image.id),
        image_name=request.config.image,
        config=config,
        host_config=host,
        networks=networks_of(request, host.network_mode),
        mounts=mount_points(
            config,
            host,
            partial(_points_of, daemon),
            daemon.settings.data_root,
            recursive=request.read_only_recursive,
        ),
        links=links.resolve(daemon, host),
        own_labels=request.config.labels or {},
        args=command_line(config),
    )


def _config_of(request: CreateContainer, image: Image) -> ContainerConfig:
    """The request's configuration, completed from the image's."""
    config = merge(request.config, ContainerConfig.model_validate(image.config.get("config") or {}))
    checks.check_texts(config)
    if config.working_dir:
        config.working_dir = clean(config.working_dir)
    config.exposed_ports = {port: {} for port in exposed_ports(config)}
    return config


def _points_of(daemon: Daemon, name: str) -> list[Point]:
    """The container's mount points.

    A missing container is not a `NotFound`, which the docker command takes for the image.
    """
    try:
        return daemon.containers.get(name).record.mounts
    except NotFound as error:
        raise InvalidArgument(str(error)) from None


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


async def _make(daemon: Daemon, record: Record, image: Image, undo: AsyncExitStack) -> Container:
    """Create the container on disk. Its row comes last: the next start removes anything without a row."""
    await _make_volumes(daemon, record.id, record.mounts, undo)
    await _make_image_mounts(daemon, record, undo)
    await _make_snapshot(daemon, record, image, undo)
    async with daemon.volume_mounts.lent(record.id, record.mounts):
        await _prepare_files(daemon, record)
    container = daemon.containers.make(record)
    await asyncio.to_thread(container.dir.mkdir, mode=0o710)
    undo.callback(container.dir.rmdir)
    volumes = [point.name for point in record.mounts if point.type == "volume" and point.name]
    await daemon.containers.add(container, also=daemon.volumes.owned(volumes, None))
    return container


async def _make_volumes(daemon: Daemon, id: str, points: list[Point], undo: AsyncExitStack) -> None:
    for point in points:
        if point.type != "volume":
            continue
        options = point.spec.volume_options or VolumeOptions()
        driver = options.driver_config or DriverConfig()
        record, is_new = await daemon.volumes.create(
            point.name or "", driver=point.driver or "", options=driver.options, labels=options.labels, owner=id
        )
        if is_new:
            undo.push_async_callback(_unmake_volume, daemon, record.name)
            daemon.events.publish("volume", "create", record.name, {"driver": record.driver})
        point.name, point.source = record.name, str(daemon.volumes.path(record.name))
        point.driver = record.driver
        if point.spec.type and not point.mode:
            point.mode = "z"


async def _unmake_volume(daemon: Daemon, name: str) -> None:
    with suppress(Conflict):  # another container uses it by now
        await daemon.volumes.remove(name, partial(daemon.volume_users, name))


async def _make_image_mounts(daemon: Daemon, record: Record, undo: AsyncExitStack) -> None:
    """Create a snapshot for each mounted image, so that the image's files stay as long as the container."""
    for number, point in enumerate(record.mounts):
        if point.type == "image":
            image = daemon.images.get(point.spec.source)
            point.spec = point.spec.model_copy(update={"source": str(image.id)})
            async with daemon.images.held(image):
                await _prepare_snapshot(daemon, record.id, image_snapshot(record.id, number), image.snapshot, undo)


async def _make_snapshot(daemon: Daemon, record: Record, image: Image, undo: AsyncExitStack) -> None:
    size = checks.quota_bytes(daemon, record.host_config)
    async with daemon.images.held(image):
        parent = await daemon.images.init_snapshot(image)
        await _prepare_snapshot(daemon, record.id, record.id, parent, undo, size_bytes=size)


async def _prepare_snapshot(
    daemon: Daemon, id: str, key: str, parent: str | None, undo: AsyncExitStack, *, size_bytes: int | None = None
) -> None:
    labels = {CONTAINER_LABEL: id}
    await asyncio.to_thread(daemon.storage.prepare, key, parent, labels=labels, size_bytes=size_bytes)
    undo.push_async_callback(asyncio.to_thread, daemon.storage.remove, key)


async def _prepare_files(daemon: Daemon, record: Record) -> None:
    """Create the working directory, and fill new volumes with the image's files in their place."""
    volumes = [point for point in record.mounts if point.type == "volume" and point.copies]
    if not volumes and record.config.working_dir in ("", "/"):
        return
    mounts = await asyncio.to_thread(daemon.storage.mounts, record.id)
    await asyncio.to_thread(_prepare_files_now, mounts, record, volumes, daemon.settings.exec_root)


def _prepare_files_now(mounts: Sequence[Mount], record: Record, volumes: Sequence[Point], state_dir: Path) -> None:
    with open_rootfs(mounts, state_dir) as root:
        make_directory(root, record.config.working_dir)
        fill_volumes(root, volumes)
