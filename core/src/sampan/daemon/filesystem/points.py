"""Mount points: the result of a container's binds, mounts, tmpfs, volumes and volumes from other containers.

Source: moby daemon/volumes.go, registerMountPoints, and daemon/create_unix.go, createContainerVolumesOS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sampan.daemon.filesystem.binds import merge_tmpfs_options, parse_bind, parse_volumes_from
from sampan.daemon.filesystem.mounts import Point, check_absolute, clean, parse_mount
from sampan.errdefs import InvalidArgument
from sampan.models import BindOptions, ContainerConfig, HostConfig

PointsOf = Callable[[str], Sequence[Point]]
"""Returns the mount points of a container by name or ID. Raises `InvalidArgument` if there is none."""
_SEES_ROOT = frozenset({"", "rslave", "rshared"})
_SLAVE = "rslave"


def mount_points(
    config: ContainerConfig, host: HostConfig, points_of: PointsOf, data_root: Path, *, recursive: bool = True
) -> list[Point]:
    """All mount points of a container about to be created; volumes without a name are still to be created.

    Later ones replace earlier ones: volumes of other containers first, then the user's own. The image's `Volumes` are
    added where nothing else is. Unless `recursive`, mounts below a read-only bind are not made read-only. Raises
    `InvalidArgument` with Docker's message.
    """
    points = {point.destination: point for point in _volumes_from(host, points_of)}
    asked: set[str] = set()
    tmpfs = _tmpfs_destinations(host)
    for point in _asked_for(host, tmpfs):
        if point.destination in asked:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        asked.add(point.destination)
        points[point.destination] = _seeing(point if recursive else _not_recursive(point), data_root)
    for destination in map(_checked, config.volumes or ()):
        if destination not in points and destination not in tmpfs:
            points[destination] = Point(
                type="volume", destination=destination, rw=True, driver=host.volume_driver, copies=True
            )
    return list(points.values())


def _asked_for(host: HostConfig, tmpfs: set[str]) -> Iterator[Point]:
    for text in host.binds or ():
        point = parse_bind(text, host.volume_driver)
        if point.destination in tmpfs:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        yield point
    for mount in host.mounts or ():
        yield parse_mount(mount)


def _tmpfs_destinations(host: HostConfig) -> set[str]:
    for options in (host.tmpfs or {}).values():
        merge_tmpfs_options(options.split(",") if options else ())
    return set(map(_checked, host.tmpfs or ()))


def _checked(destination: str) -> str:
    check_absolute(destination)
    return clean(destination)


def _volumes_from(host: HostConfig, points_of: PointsOf) -> Iterator[Point]:
    for text in host.volumes_from or ():
        name, writable = parse_volumes_from(text)
        for point in points_of(name):
            yield point.model_copy(update={"rw": point.rw and writable, "copies": False, "mode": ""})


def _seeing(point: Point, data_root: Path) -> Point:
    """The mount point, as a slave of the host's mounts if it contains the engine's own files.

    Otherwise a container that sees them would keep mounts alive that are to be removed (moby
    daemon/volumes_linux.go).
    """
    if point.type != "bind" or not _overlap(Path(point.source), data_root):
        return point
    asked = point.spec.bind_options.propagation if point.spec.bind_options else ""
    if asked not in _SEES_ROOT:
        raise InvalidArgument(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is '
            f'within the daemon root, daemon root: "{data_root}", bind mount source: "{point.source}", '
            f'propagation: "{asked}"'
        )
    return point if asked else point.model_copy(update={"propagation": _SLAVE})


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _not_recursive(point: Point) -> Point:
    if point.type != "bind" or point.rw:
        return point
    options = point.spec.bind_options or BindOptions()
    options = options.model_copy(update={"read_only_non_recursive": True})
    return point.model_copy(update={"spec": point.spec.model_copy(update={"bind_options": options})})
