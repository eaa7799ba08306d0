"""The daemon: owns the resources, calls the drivers, and registers everything it can do in one table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pluggy

from sampan import models
from sampan.daemon import prune, restore
from sampan.daemon.container import Container, Record
from sampan.daemon.events import EventLog
from sampan.daemon.filesystem import archive, changes, commit
from sampan.daemon.images import check, distribution, image, login, save
from sampan.daemon.images.gc import Collector, DataRootDisk, GcPolicy
from sampan.daemon.lifecycle import (
    create,
    kill,
    pause,
    remove,
    rename,
    restart,
    restart_policy,
    start,
    stop,
    update,
    wait,
)
from sampan.daemon.networks import exposure, membership, network
from sampan.daemon.registry import Containers
from sampan.daemon.reports import info, inspect, listing, stats, system, top, usage, watch
from sampan.daemon.reports.group_events import GroupEvents
from sampan.daemon.reports.metrics import ContainerMetrics
from sampan.daemon.reports.programs import Programs
from sampan.daemon.reports.sampler import Sampler
from sampan.daemon.streams import attach, exec, logs
from sampan.daemon.streams.journal import Journal
from sampan.daemon.streams.log_keeper import LogKeeper
from sampan.daemon.volumes import volume
from sampan.daemon.volumes.volume_mounts import VolumeMounts
from sampan.daemon.volumes.volumes import Volumes
from sampan.drivers import ResourceDriver, StorageDriver, VolumeDriver
from sampan.drivers.loader import Provenance
from sampan.engine import Engine, Handler, Serial
from sampan.errdefs import NotFound
from sampan.images.store import ImageStore, ImageUser
from sampan.network.controller import NetworkController
from sampan.runtime.interface import Runtime
from sampan.runtime.journal import SOCKET as JOURNAL_SOCKET
from sampan.state import Database

_log = logging.getLogger(__name__)

Check: TypeAlias = Callable[[Container], None]
"""Raises if a container's state does not allow the operation."""


@dataclass(frozen=True)
class Settings:
    """The daemon's part of the configuration. Paths exist; times are seconds, sizes are bytes."""

    data_root: Path
    exec_root: Path
    name: str
    id: str
    storage_driver: str
    network_driver: str
    resource_driver: str
    runtimes: Mapping[str, str]
    default_runtime: str
    labels: tuple[str, ...] = ()
    stop_timeout_s: int = 10
    shutdown_timeout_s: int = 15
    log_config: models.LogConfig = field(default_factory=lambda: models.LogConfig(type="json-file"))
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    init_path: Path | None = None
    shm_bytes: int = 64 * 1024 * 1024
    strict_resources: bool = False
    enforce_host_firewall: bool = False
    events_kept: int = 100_000
    debug: bool = False
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    address_pools: tuple[tuple[str, int], ...] = ()
    conmon_path: Path | None = None
    journal_socket: Path = JOURNAL_SOCKET
    gc: GcPolicy = field(default_factory=GcPolicy)


@dataclass(frozen=True)
class Parts:
    """The components that the daemon works with, created by bootstrap."""

    database: Database
    images: ImageStore
    networks: NetworkController
    runtime: Runtime
    storage: StorageDriver
    resources: ResourceDriver
    hooks: pluggy.PluginManager
    provenance: tuple[Provenance, ...]
    volumes: Mapping[str, VolumeDriver] = field(default_factory=dict)


class Daemon:
    """Owns the containers, images, networks and volumes of one data root.

    The handlers of the engine's jobs are functions in the modules of their verbs or resources; `install` binds the
    daemon as their first argument.
    """

    def __init__(self, settings: Settings, parts: Parts, serial: Serial) -> None:
        self._settings = settings
        self.programs = _programs(settings)
        self.database = parts.database
        self.images = parts.images
        self.networks = parts.networks
        self.runtime = parts.runtime
        self.storage = parts.storage
        self.resources = parts.resources
        self.hooks = parts.hooks
        self.provenance = parts.provenance
        self.serial = serial
        self.containers = Containers(
            parts.database, settings.data_root / "containers", settings.exec_root / "bundles"
        )
        self.volumes = Volumes(parts.database, settings.data_root / "volumes", parts.volumes)
        self.volume_mounts = VolumeMounts(self.volumes)
        self.events = EventLog(parts.database, owner=settings.id, kept=settings.events_kept)
        self.sampler = Sampler(parts.resources)
        self.logs = LogKeeper(self.runtime.reopen_log)
        self.journal = Journal(settings.journal_socket)
        self.execs = exec.Execs()
        self._being_made: dict[str, Record] = {}
        self.pruning = prune.Pruning()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def settings(self) -> Settings:
        """The settings currently in force."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self.programs = _programs(settings)

    def install(self, engine: Engine) -> None:
        """Register everything that the daemon can do in the engine's table."""
        look = {"slot": False}
        stream = {"slot": False, "cancellable": True}
        change: dict[str, Any] = {}
        pull = {"cancellable": True}
        for name, request, function, how in (
            ("build_prune", models.PruneBuildCache, prune.build_prune, change),
            ("container_attach", models.AttachContainer, attach.container_attach, stream),
            ("container_changes", models.ContainerChanges, changes.container_changes, look),
            ("container_commit", models.CommitContainer, commit.container_commit, change),
            ("container_create", models.CreateContainer, create.container_create, change),
            ("container_export", models.ExportContainer, archive.container_export, stream),
            ("container_inspect", models.InspectContainer, inspect.container_inspect, look),
            ("container_kill", models.KillContainer, kill.container_kill, look),
            ("container_list", models.ListContainers, listing.container_list, look),
            ("container_logs", models.ContainerLogs, logs.container_logs, stream),
            ("container_pack", models.PackPath, archive.container_pack, stream),
            ("container_pause", models.PauseContainer, pause.container_pause, change),
            ("container_prune", models.PruneContainers, prune.container_prune, change),
            ("container_remove", models.RemoveContainer, remove.container_remove, change),
            ("container_rename", models.RenameContainer, rename.container_rename, change),
            ("container_resize", models.ResizeContainer, attach.container_resize, look),
            ("container_restart", models.RestartContainer, restart.container_restart, change),
            ("container_start", models.StartContainer, start.container_start, change),
            ("container_stat", models.StatPath, archive.container_stat, look),
            ("container_stats", models.WatchStats, stats.container_stats, stream),
            ("container_stop", models.StopContainer, stop.container_stop, change),
            ("container_top", models.TopContainer, top.container_top, look),
            ("container_unpack", models.UnpackArchive, archive.container_unpack, stream),
            ("container_unpause", models.UnpauseContainer, pause.container_unpause, change),
            ("container_update", models.UpdateContainer, update.container_update, change),
            ("container_wait", models.WaitContainer, wait.container_wait, stream),
            ("driver_list", models.ListDrivers, system.driver_list, look),
            ("exec_create", models.CreateExec, exec.exec_create, change),
            ("exec_inspect", models.InspectExec, exec.exec_inspect, look),
            ("exec_resize", models.ResizeExec, exec.exec_resize, look),
            ("exec_start", models.StartExec, exec.exec_start, stream),
            ("distribution_inspect", models.InspectDistribution, distribution.distribution_inspect, look),
            ("image_history", models.ImageHistory, save.image_history, look),
            ("image_import", models.ImportImage, image.image_import, pull),
            ("image_inspect", models.InspectImage, image.image_inspect, look),
            ("image_list", models.ListImages, image.image_list, look),
            ("image_load", models.LoadImages, image.image_load, pull),
            ("image_pull", models.PullImage, image.image_pull, pull),
            ("image_prune", models.PruneImages, prune.image_prune, change),
            ("image_push", models.PushImage, distribution.image_push, pull),
            ("image_remove", models.RemoveImage, image.image_remove, change),
            ("image_save", models.SaveImages, save.image_save, stream),
            ("image_search", models.SearchImages, distribution.image_search, look),
            ("image_tag", models.TagImage, image.image_tag, change),
            ("network_connect", models.ConnectNetwork, membership.network_connect, change),
            ("network_create", models.CreateNetwork, network.network_create, change),
            ("network_disconnect", models.DisconnectNetwork, membership.network_disconnect, change),
            ("network_inspect", models.InspectNetwork, network.network_inspect, look),
            ("network_list", models.ListNetworks, network.network_list, look),
            ("network_prune", models.PruneNetworks, prune.network_prune, change),
            ("network_remove", models.RemoveNetwork, network.network_remove, change),
            ("plugin_inspect", models.InspectPlugin, system.plugin_inspect, look),
            ("plugin_list", models.ListPlugins, system.plugin_list, look),
            ("port_list", models.ListExposedPorts, exposure.port_list, look),
            ("registry_login", models.CheckAuth, login.registry_login, pull),
            ("system_check", models.CheckSystem, check.system_check, pull),
            ("system_df", models.SystemDiskUsage, usage.system_df, pull),
            ("system_events", models.WatchEvents, watch.system_events, stream),
            ("system_info", models.SystemInfoRequest, info.system_info, look),
            ("system_version", models.SystemVersionRequest, system.system_version, look),
            ("volume_create", models.CreateVolume, volume.volume_create, change),
            ("volume_inspect", models.InspectVolume, volume.volume_inspect, look),
            ("volume_list", models.ListVolumes, volume.volume_list, look),
            ("volume_prune", models.PruneVolumes, prune.volume_prune, change),
            ("volume_remove", models.RemoveVolume, volume.volume_remove, change),
            ("volume_update", models.UpdateVolume, volume.volume_update, look),
        ):
            engine.register(Handler(name, request, partial(function, self), **how))
        engine.metrics.registry.register(ContainerMetrics(self))

    async def open(self) -> None:
        """Reconcile records, drivers and kernel, and restart what should run."""
        await restore.restore(self)
        GroupEvents(self).start()
        await restore.run_policies(self)
        if self.settings.gc.is_on:
            collector = Collector(self, self.settings.gc, DataRootDisk(self.settings.data_root))
            self.spawn(collector.run(), "image garbage collection")

    async def close(self) -> None:
        """Release everything except the containers, which keep running."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.logs.close()
        await self.journal.close()
        for container in self.containers:
            if container.running and container.state.health:
                await self.containers.try_save(container)
        await self.events.close()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` in the background until it ends or the daemon closes. Exceptions are logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    @asynccontextmanager
    async def alone(self, name: str, check: Check = lambda _: None) -> AsyncIterator[Container]:
        """In this context, nobody else changes the container of that name or ID. Meant for changes, not for waiting.

        `check` raises if the container's state does not allow the change. It is called at once, and again when the
        caller's turn has come. Raises `NotFound`, also if the container is removed in the meantime.
        """
        container = self.containers.get(name)
        check(container)
        async with self.serial.hold(container.id):
            if container.id not in self.containers:
                raise NotFound(f"No such container: {name}")
            check(container)
            yield container

    def give_up(self, container: Container) -> None:
        """End a container whose health check has failed for good, if its restart policy says so."""
        if restart_policy.gives_up(container):
            container.state.ended_as_unhealthy = True
            self.spawn(stop.end_unhealthy(self, container), f"end unhealthy {container.id[:12]}")

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event of a container, with Docker's attributes: labels, image and name."""
        record = container.record
        labels = record.config.labels or {}
        said = {**labels, "image": record.image_name, "name": record.name, **attributes}
        self.events.publish("container", action, record.id, said)

    def volume_users(self, name: str) -> tuple[str, ...]:
        """The IDs of the containers that use the volume, including those that are being created."""
        records = {container.id: container.record for container in self.containers} | self._being_made
        return tuple(id for id, record in records.items() if any(_is_volume(point, name) for point in record.mounts))

    @contextmanager
    def making(self, record: Record) -> Iterator[None]:
        """In this context, a container that is being created counts as a user of its image and volumes."""
        self._being_made[record.id] = record
        try:
            yield
        finally:
            del self._being_made[record.id]

    def is_making(self, id: str) -> bool:
        """Whether a container of this ID is being created."""
        return id in self._being_made

    def image_users(self, image_id: str) -> tuple[ImageUser, ...]:
        """The containers created from the image or that mount it, including those that are being created."""
        there = {
            one.id: ImageUser(one.id, one.active) for one in self.containers if image_id in _images_of(one.record)
        }
        made = {id: ImageUser(id, False) for id, one in self._being_made.items() if image_id in _images_of(one)}
        return tuple((made | there).values())

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("%s failed", task.get_name(), exc_info=error)


def _programs(settings: Settings) -> Programs:
    return Programs(
        {
            "runtime": Path(settings.runtimes[settings.default_runtime]),
            "monitor": settings.conmon_path,
            "init": settings.init_path,
        }
    )


def _images_of(record: Record) -> set[str]:
    mounted = {point.spec.source for point in record.mounts if point.type == "image"}
    return {record.image_id, *mounted}


def _is_volume(point: models.MountPoint, name: str) -> bool:
    return point.type == "volume" and point.name == name
