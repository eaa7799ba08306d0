"""The jobs for volumes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sampan.daemon import filters
from sampan.daemon.clock import rfc3339
from sampan.daemon.container import Container
from sampan.daemon.filesystem.mounts import Point
from sampan.daemon.volumes.volumes import LOCAL_DRIVER, VolumeRecord
from sampan.engine import Job
from sampan.errdefs import NotFound, Unavailable
from sampan.models import CreateVolume, InspectVolume, ListVolumes, RemoveVolume, UpdateVolume, Volume, VolumeList

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
_FILTERS = frozenset({"dangling", "driver", "label", "name"})


async def volume_create(daemon: Daemon, job: Job[CreateVolume]) -> Volume:
    """Return the volume of this name, creating it if necessary."""
    request = job.request
    if request.cluster_volume_spec is not None:
        raise Unavailable(NO_SWARM)
    record, is_new = await daemon.volumes.create(
        request.name or "",
        driver=request.driver or "",
        options=request.driver_opts,
        labels=request.labels,
    )
    if is_new:
        daemon.events.publish("volume", "create", record.name, {"driver": record.driver})
    return described(daemon, record)


async def volume_inspect(daemon: Daemon, job: Job[InspectVolume]) -> Volume:
    """One volume."""
    return described(daemon, daemon.volumes.get(job.request.name))


async def volume_list(daemon: Daemon, job: Job[ListVolumes]) -> VolumeList:
    """The volumes that match the filters."""
    wanted = filters.checked(job.request.filters, _FILTERS)
    used = {point.name for container in daemon.containers for point in container.record.mounts}
    return VolumeList(
        volumes=[
            described(daemon, record)
            for record in daemon.volumes
            if filters.matches_labels(wanted, record.labels)
            and filters.contains(wanted, "name", record.name)
            and filters.equals(wanted, "driver", record.driver)
            and filters.is_true(wanted, "dangling", record.name not in used)
        ],
        warnings=None,
    )


async def volume_update(daemon: Daemon, job: Job[UpdateVolume]) -> None:
    """Only cluster volumes can be changed, and there are none."""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def volume_remove(daemon: Daemon, job: Job[RemoveVolume]) -> None:
    """Remove a volume that no container uses; with `force`, a missing volume is no error."""
    try:
        await remove(daemon, job.request.name)
    except NotFound:
        if not job.request.force:
            raise


async def remove(daemon: Daemon, name: str) -> None:
    """Remove a volume that no container uses. Raises `NotFound`, `Conflict`."""
    driver = daemon.volumes.get(name).driver
    await daemon.volumes.remove(name, partial(daemon.volume_users, name))
    daemon.events.publish("volume", "destroy", name, {"driver": driver})


def tell_mounted(daemon: Daemon, container: Container) -> None:
    """Publish that a container's volumes are mounted (moby daemon/volumes_unix.go, setupMounts)."""
    for point in _volumes_of(container):
        said = {
            "driver": point.driver or LOCAL_DRIVER,
            "container": container.id,
            "destination": point.destination,
            "read/write": "true" if point.rw else "false",
            "propagation": point.propagation,
        }
        daemon.events.publish("volume", "mount", point.name or "", said)


def tell_unmounted(daemon: Daemon, container: Container) -> None:
    """Publish that a container's volumes are no longer mounted."""
    for point in _volumes_of(container):
        said = {"driver": point.driver or LOCAL_DRIVER, "container": container.id}
        daemon.events.publish("volume", "unmount", point.name or "", said)


def _volumes_of(container: Container) -> list[Point]:
    return [point for point in container.record.mounts if point.type == "volume"]


def described(daemon: Daemon, record: VolumeRecord) -> Volume:
    """A volume as clients see it."""
    return Volume(
        name=record.name,
        driver=record.driver,
        mountpoint=_mount_point(daemon, record),
        created_at=rfc3339(record.created_at_ns),
        labels=record.labels or None,
        scope="local",
        options=record.options or None,
    )


def _mount_point(daemon: Daemon, record: VolumeRecord) -> str:
    """The path of the volume; empty while its driver is not installed."""
    try:
        return str(daemon.volumes.path(record.name))
    except NotFound:
        return ""
