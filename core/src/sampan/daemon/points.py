"""Mount points: what a container's binds, mounts, tmpfs and volumes come to."""

from __future__ import annotations

import posixpath
from pathlib import Path

from sampan.daemon.volumes import LOCAL_DRIVER
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import ContainerConfig, HostConfig, Mount, MountPoint

_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = frozenset({"rw", "ro", "z", "Z", "nocopy", "consistent", "cached", "delegated"}) | _PROPAGATIONS


def mount_points(config: ContainerConfig, host: HostConfig) -> list[MountPoint]:
    """All mount points of a container about to be created; a volume without a name is still to be made.

    Raises `InvalidArgument` in Docker's words. The image's volumes yield to what the user puts in their place.
    """
    points: dict[str, MountPoint] = {}
    for point in [*map(parse_bind, host.binds or []), *map(parse_mount, host.mounts or [])]:
        if point.destination in points:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        points[point.destination] = point
    for destination, options in (host.tmpfs or {}).items():
        path = _destination(destination, destination)
        points[path] = MountPoint(type="tmpfs", destination=path, mode=options, rw=True)
    for destination in config.volumes or {}:
        path = _destination(destination, destination)
        points.setdefault(path, MountPoint(type="volume", destination=path, rw=True, driver=LOCAL_DRIVER))
    return list(points.values())


def parse_bind(spec: str) -> MountPoint:
    """`SOURCE:DESTINATION[:MODE]`, where a source without a slash is a volume's name (moby volume/mounts)."""
    source, _, rest = spec.partition(":")
    destination, _, mode = rest.partition(":")
    if not source or not destination or ":" in mode:
        raise InvalidArgument(f"invalid volume specification: '{spec}'")
    modes = [one for one in mode.split(",") if one]
    if any(one not in _MODES for one in modes):
        raise InvalidArgument(f"invalid volume specification: '{spec}': invalid mode: {mode}")
    is_bind = source.startswith("/")
    propagation = next((one for one in modes if one in _PROPAGATIONS), "")
    if propagation and not is_bind:
        raise InvalidArgument(f"invalid volume specification: '{spec}': invalid mode: {mode}")
    return MountPoint(
        type="bind" if is_bind else "volume",
        name=None if is_bind else source,
        source=posixpath.normpath(source) if is_bind else "",
        destination=_destination(destination, spec),
        driver=None if is_bind else LOCAL_DRIVER,
        mode=mode,
        rw="ro" not in modes,
        propagation=propagation or ("rprivate" if is_bind else ""),
    )


def parse_mount(mount: Mount) -> MountPoint:
    """An entry of HostConfig.Mounts. Raises `InvalidArgument`, or `Unsupported` for a type we don't serve yet."""
    destination = mount.target or ""
    if not destination:
        raise _bad_mount(mount, "field Target must not be empty")
    if not destination.startswith("/"):
        raise _bad_mount(mount, f"invalid mount path: '{destination}' mount path must be absolute")
    match mount.type:
        case "bind":
            return _bind_point(mount)
        case "volume":
            return _volume_point(mount)
        case "tmpfs":
            return MountPoint(
                type="tmpfs", destination=_destination(destination, destination), mode=_tmpfs_mode(mount), rw=True
            )
        case "image" | "npipe" | "cluster":
            raise Unsupported(f"sampan does not serve mounts of type {mount.type} yet")
        case _:
            raise _bad_mount(mount, "mount type unknown")


def _bind_point(mount: Mount) -> MountPoint:
    source = mount.source or ""
    if not source:
        raise _bad_mount(mount, "field Source must not be empty")
    if not source.startswith("/"):
        raise _bad_mount(mount, f"invalid mount path: '{source}' mount path must be absolute")
    options = mount.bind_options
    if not Path(source).exists() and not (options and options.create_mountpoint):
        raise _bad_mount(mount, f"bind source path does not exist: {source}")
    propagation = (options.propagation if options else None) or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise _bad_mount(mount, f"invalid propagation mode: {propagation}")
    return MountPoint(
        type="bind",
        source=posixpath.normpath(source),
        destination=_destination(mount.target or "", mount.target or ""),
        rw=not mount.read_only,
        mode="",
        propagation=propagation,
    )


def _volume_point(mount: Mount) -> MountPoint:
    options = mount.volume_options
    if options and options.subpath:
        raise Unsupported("sampan does not serve subpaths of volumes yet")
    driver = options.driver_config.name if options and options.driver_config else None
    return MountPoint(
        type="volume",
        name=mount.source or None,
        destination=_destination(mount.target or "", mount.target or ""),
        driver=driver or LOCAL_DRIVER,
        mode="nocopy" if options and options.no_copy else "z",
        rw=not mount.read_only,
    )


def _tmpfs_mode(mount: Mount) -> str:
    options = mount.tmpfs_options
    said = ["ro"] if mount.read_only else []
    if options and options.size_bytes:
        said.append(f"size={options.size_bytes}")
    if options and options.mode:
        said.append(f"mode={options.mode:o}")
    return ",".join(said)


def _destination(path: str, spec: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{spec}': invalid mount path: '{path}' mount path must be absolute"
        )
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise InvalidArgument(
            f"invalid volume specification: '{spec}': invalid specification: destination can't be '/'"
        )
    return clean


def _bad_mount(mount: Mount, reason: str) -> InvalidArgument:
    return InvalidArgument(f'invalid mount config for type "{mount.type}": {reason}')
