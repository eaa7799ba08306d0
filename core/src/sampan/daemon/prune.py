"""container_prune, image_prune, volume_prune, network_prune, build_prune: remove everything unused of one kind.

Rules: moby daemon/images/image_prune.go, daemon/volume/service/service.go, daemon/prune.go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.daemon.container import Container
from sampan.daemon.images import image
from sampan.daemon.lifecycle import remove
from sampan.daemon.networks import network
from sampan.daemon.reports import inspect
from sampan.daemon.reports.usage import volume_bytes
from sampan.daemon.volumes import volume
from sampan.daemon.volumes.volumes import LOCAL_DRIVER, VolumeRecord
from sampan.engine import Job
from sampan.errdefs import Conflict, SampanError
from sampan.images.image import Image
from sampan.models import (
    BuildCachePruned,
    ContainersPruned,
    ImageRemoved,
    ImagesPruned,
    NetworksPruned,
    PruneBuildCache,
    PruneContainers,
    PruneImages,
    PruneNetworks,
    PruneVolumes,
    VolumesPruned,
)
from sampan.network.records import NetworkRecord

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_log = logging.getLogger(__name__)
_LABELS = frozenset({"label", "label!"})
_CONTAINER_FILTERS = _LABELS | {"until"}
_IMAGE_FILTERS = _LABELS | {"dangling", "until"}
_VOLUME_FILTERS = _LABELS | {"all"}
_NETWORK_FILTERS = _LABELS | {"until"}
_CACHE_FILTERS = frozenset({"until", "id", "parent", "type", "description", "inuse", "shared", "private"})


async def container_prune(daemon: Daemon, job: Job[PruneContainers]) -> ContainersPruned:
    """Remove the containers that are not active; the space reclaimed is that of their writable layers."""
    wanted = filters.checked(job.request.filters, _CONTAINER_FILTERS)
    until = filters.until(wanted)
    pruned = ContainersPruned()
    with daemon.pruning("containers"):
        for container in daemon.containers:
            due = until is None or container.record.created_at_ns <= until * 1e9
            if due and not container.active and filters.prune_labels(wanted, container.record.config.labels):
                await _remove_container(daemon, container, pruned)
    daemon.events.publish("container", "prune", "", {"reclaimed": str(pruned.space_reclaimed)})
    return pruned


async def _remove_container(daemon: Daemon, container: Container, pruned: ContainersPruned) -> None:
    try:
        written, _ = await inspect.sizes(daemon, container)
        if await remove.remove_at_rest(daemon, container):
            pruned.containers_deleted = [*(pruned.containers_deleted or ()), container.id]
            pruned.space_reclaimed += written
    except (SampanError, OSError) as error:
        _log.info("container %s is not pruned: %s", container.id[:12], error)


async def image_prune(daemon: Daemon, job: Job[PruneImages]) -> ImagesPruned:
    """Remove the images without a name, or with `dangling=false` all that no container uses.

    Layers of interrupted pulls have no name either, so they are removed too, unless other filters are given, which
    can't apply to them.
    """
    wanted = filters.checked(job.request.filters, _IMAGE_FILTERS)
    dangling_only = filters.boolean(wanted, "dangling", default=True)
    until = filters.until(wanted)
    before = await daemon.images.disk_bytes()
    removed: list[ImageRemoved] = []
    with daemon.pruning("images"):
        for one in daemon.images.list():
            if _is_unused(daemon, one, dangling_only) and _is_due(one, until) and _has_labels(one, wanted):
                removed += await image.remove_unused(daemon, one)
    if not wanted.keys() - {"dangling"}:
        await daemon.images.forget_begun()
    reclaimed = max(0, before - await daemon.images.disk_bytes())  # as `system df` counts, including blobs
    daemon.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return ImagesPruned(images_deleted=removed or None, space_reclaimed=reclaimed)


def _is_unused(daemon: Daemon, one: Image, dangling_only: bool) -> bool:
    return not daemon.image_users(one.id) and (not one.references if dangling_only else True)


def _is_due(one: Image, until: float | None) -> bool:
    return until is None or image.created_s(one) <= until


def _has_labels(one: Image, wanted: filters.Filters) -> bool:
    return filters.prune_labels(wanted, (one.config.get("config") or {}).get("Labels"))


async def volume_prune(daemon: Daemon, job: Job[PruneVolumes]) -> VolumesPruned:
    """Remove the volumes that no container uses: the anonymous ones, or all."""
    wanted = filters.checked(job.request.filters, _VOLUME_FILTERS)
    everything = job.request.all or filters.boolean(wanted, "all", default=False)
    pruned = VolumesPruned()
    with daemon.pruning("volumes"):
        for record in daemon.volumes:
            if _is_free(daemon, record, everything) and filters.prune_labels(wanted, record.labels):
                await _remove_volume(daemon, record.name, pruned)
    daemon.events.publish("volume", "prune", "", {"reclaimed": str(pruned.space_reclaimed)})
    return pruned


def _is_free(daemon: Daemon, record: VolumeRecord, everything: bool) -> bool:
    """Volumes of other drivers are not pruned, as in Docker: they don't take space on this host's disk."""
    is_local = record.driver == LOCAL_DRIVER
    return is_local and (everything or record.anonymous) and not daemon.volume_users(record.name)


async def _remove_volume(daemon: Daemon, name: str, pruned: VolumesPruned) -> None:
    try:
        size = await volume_bytes(daemon, name)
        await volume.remove(daemon, name)
    except SampanError as error:
        _log.info("volume %s is not pruned: %s", name, error)
        return
    pruned.volumes_deleted.append(name)
    pruned.space_reclaimed += size


async def network_prune(daemon: Daemon, job: Job[PruneNetworks]) -> NetworksPruned:
    """Remove the networks that no running container is on, except the predefined ones."""
    wanted = filters.checked(job.request.filters, _NETWORK_FILTERS)
    until = filters.until(wanted)
    removed = []
    with daemon.pruning("networks"):
        for record in daemon.networks.list():
            is_due = until is None or record.created_ns / 1e9 <= until
            if is_due and _is_idle(daemon, record) and filters.prune_labels(wanted, record.labels):
                removed += await _remove_network(daemon, record)
    daemon.events.publish("network", "prune", "", {"reclaimed": "0"})
    return NetworksPruned(networks_deleted=removed or None)


def _is_idle(daemon: Daemon, record: NetworkRecord) -> bool:
    return record.user_defined and not record.config_only and not daemon.networks.endpoints_of(record)


async def _remove_network(daemon: Daemon, record: NetworkRecord) -> list[str]:
    try:
        await network.remove(daemon, record)
    except SampanError as error:  # it is in use by now
        _log.info("network %s is not pruned: %s", record.name, error)
        return []
    return [record.name]


async def build_prune(daemon: Daemon, job: Job[PruneBuildCache]) -> BuildCachePruned:
    """Nothing is built here, so the cache is always empty."""
    filters.checked(job.request.filters, _CACHE_FILTERS)
    daemon.events.publish("builder", "prune", "", {"reclaimed": "0"})
    return BuildCachePruned()


class Pruning:
    """Lets one prune of each kind run at a time."""

    def __init__(self) -> None:
        self._running: set[str] = set()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """In this context, another prune of `kind` is refused."""
        if kind in self._running:
            raise Conflict("a prune operation is already running")
        self._running.add(kind)
        try:
            yield
        finally:
            self._running.discard(kind)
