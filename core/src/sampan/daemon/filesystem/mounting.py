"""A container's mount points in the runtime's terms: the spec's mounts, and the mount trees that they use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.filesystem.binds import merge_tmpfs_options
from sampan.daemon.filesystem.mounts import DEFAULT_PROPAGATION, Point, clean, tmpfs_options
from sampan.daemon.settings.namespaces import SHARED, SHM, network_mode, shm_tree
from sampan.drivers import Mount
from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.runtime.interface import Tree
from sampan.runtime.spec import SpecMount
from sampan.syscalls.mount import find_mount_point, is_propagating

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_FILES = ("hostname", "hosts", "resolv.conf")
_SHM = "/dev/shm"  # noqa: S108
_TMPFS = ("noexec", "nosuid", "nodev", DEFAULT_PROPAGATION)


@dataclass(frozen=True)
class Mounting:
    """Everything that is mounted in a container in addition to what every container has."""

    mounts: tuple[SpecMount, ...]
    trees: tuple[Tree, ...]


def mounting(daemon: Daemon, container: Container) -> Mounting:
    """The mounts for the container's mount points. Blocks.

    Creates missing sources of binds. Raises Docker's errors if one of them is impossible.
    """
    mounts: list[SpecMount] = []
    trees: list[Tree] = []
    tmpfs = {clean(path): options for path, options in (container.record.host_config.tmpfs or {}).items()}
    for number, point in enumerate(container.record.mounts):
        if point.destination in tmpfs:
            continue
        if point.type == "tmpfs":
            options = tmpfs_options(point.spec.tmpfs_options, read_only=not point.rw)
            mounts.append(_tmpfs(point.destination, options))
            continue
        _prepare_source(point)
        mount = _bind(daemon, container, point)
        if tree := _tree(daemon, container, point, number):
            trees.append(tree)
            mount = replace(mount, source=str(container.bundle_dir / tree.name))
        mounts.append(mount)
    mounts += [_tmpfs(path, options) for path, options in tmpfs.items()]
    taken = {mount.destination for mount in mounts}
    if _SHM not in taken and (tree := shm_tree(daemon, container)):
        trees.append(tree)
        mounts.append(SpecMount(_SHM, "bind", str(container.bundle_dir / SHM), ("rbind", DEFAULT_PROPAGATION)))
    return Mounting((*mounts, *_files(daemon, container, taken)), tuple(trees))


def image_snapshot(container_id: str, number: int) -> str:
    """The snapshot of the image that is mounted at the container's mount point of this number."""
    return f"{container_id}-image-{number}"


def _tmpfs(destination: str, options: str) -> SpecMount:
    asked = options.split(",") if options else ()
    return SpecMount(destination, "tmpfs", "tmpfs", merge_tmpfs_options((*_TMPFS, *asked)))


def _bind(daemon: Daemon, container: Container, point: Point) -> SpecMount:
    options = point.spec.bind_options
    propagation = point.propagation or DEFAULT_PROPAGATION
    _check_propagation(point)
    how = "rbind"
    if options and options.non_recursive:  # crun would apply the r of rprivate as that of rbind
        how, propagation = "bind", propagation.removeprefix("r")
    access = "rw" if point.rw and not _is_read_only(point) else _read_only(daemon, container, point)
    return SpecMount(point.destination, "bind", point.source, (how, propagation, access))


def _is_read_only(point: Point) -> bool:
    """Whether it is a volume that is itself mounted read-only (`o=bind,ro`), which crun would make writable."""
    return point.type == "volume" and bool(os.statvfs(point.source).f_flag & os.ST_RDONLY)


def _read_only(daemon: Daemon, container: Container, point: Point) -> str:
    """`rro` if possible, which makes mounts below read-only too (moby daemon/oci_linux.go, withMounts), else `ro`."""
    if not Path(point.source).is_dir():
        return "ro"  # nothing can be mounted below, and crun opens the source of `rro` as a directory
    options = point.spec.bind_options
    if options and options.read_only_non_recursive:
        return "ro"
    why_not = daemon.runtime.why_not_recursive(container.record.host_config.runtime or None)
    if why_not and options and options.read_only_force_recursive:
        raise InvalidArgument(why_not)
    return "ro" if why_not else "rro"


def _tree(daemon: Daemon, container: Container, point: Point, number: int) -> Tree | None:
    name = f"mount-{number}"
    if point.type == "image":
        subpath = point.spec.image_options.subpath if point.spec.image_options else ""
        mounts = daemon.storage.mounts(image_snapshot(container.id, number))
        return Tree(name, tuple(mounts), subpath=subpath)
    options = point.spec.volume_options
    if point.type == "volume" and options and options.subpath:
        return Tree(name, (Mount("bind", point.source, ("rbind",)),), subpath=options.subpath)
    return None


def _prepare_source(point: Point) -> None:
    """`-v` creates a missing directory on the host, as in Docker; `--mount` refuses it unless told otherwise."""
    if point.type != "bind" or Path(point.source).exists():
        return
    options = point.spec.bind_options
    if options is None or not options.create_mountpoint:
        raise InvalidArgument(
            f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
        )
    try:
        Path(point.source).mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise SystemFailure(
            f"error while creating mount source path '{point.source}': mkdir {error.filename}: {error.strerror}"
        ) from error


def _check_propagation(point: Point) -> None:
    """Raise `InvalidArgument` with Docker's message if the source's mount does not allow the propagation."""
    kind = point.propagation.removeprefix("r")
    if kind not in ("shared", "slave"):
        return
    wanted = ("shared",) if kind == "shared" else ("shared", "master")
    asked = point.spec.bind_options.propagation if point.spec.bind_options else ""
    if is_propagating(Path(point.source), *wanted) or (not asked and kind == "slave"):
        return
    words = "a shared mount" if kind == "shared" else "a shared or slave mount"
    place = find_mount_point(Path(point.source))
    raise InvalidArgument(f"path {point.source} is mounted on {place} but it is not {words}")


def _files(daemon: Daemon, container: Container, taken: set[str]) -> Iterator[SpecMount]:
    """The hostname, hosts and resolv.conf files, unless the user mounts others there; none before the first start."""
    owner = _owner_of_files(daemon, container)
    access = "ro" if container.record.host_config.readonly_rootfs else "rw"
    for name in _FILES:
        destination = f"/etc/{name}"
        if destination not in taken and owner and (source := owner.dir / name).exists():
            yield SpecMount(destination, "bind", str(source), ("rbind", DEFAULT_PROPAGATION, access))


def _owner_of_files(daemon: Daemon, container: Container) -> Container | None:
    """The container itself, or the one whose network it shares; `None` if that one is gone."""
    mode = network_mode(container.record.host_config)
    return daemon.containers.find(mode.removeprefix(SHARED)) if mode.startswith(SHARED) else container
