"""container_stat, container_pack, container_unpack: copying files into and out of a container.

Source of rules and messages: moby daemon/archive.go, archive_unix.go and archive_tarcopyoptions_unix.go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.filesystem import paths
from sampan.daemon.filesystem.view import View, viewed, viewed_bare
from sampan.daemon.images.image import blaming_the_caller
from sampan.engine import Job
from sampan.engine.job import Output
from sampan.errdefs import Conflict, InvalidArgument
from sampan.images.layer import copy
from sampan.images.layer.extract import Placement
from sampan.models import ContainerPathStat, ExportContainer, MountPoint, PackPath, StatPath, UnpackArchive
from sampan.runtime import user
from sampan.tasks import in_thread

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_stat(daemon: Daemon, job: Job[StatPath]) -> ContainerPathStat:
    """What is at a path; a symbolic link in the last component is not followed."""
    request = job.request
    container = daemon.containers.get(request.name)
    path = paths.absolute(request.path)
    async with viewed(daemon, container) as view:
        with paths.in_words_of(request):
            return await in_thread(paths.stat_path, view.root, path)


async def container_pack(daemon: Daemon, job: Job[PackPath]) -> None:
    """Send what is at a path, followed by a tar of it as a stream."""
    request, output = job.request, job.require_output()
    container = daemon.containers.get(request.name)
    path = paths.absolute(request.path)
    async with viewed(daemon, container) as view:
        with paths.in_words_of(request):
            await output.write(await in_thread(paths.stat_path, view.root, path))
        daemon.publish(container, "archive-path")
        await _send(copy.pack_path(view.namespace, path, paths.base(path)), output)


async def container_unpack(daemon: Daemon, job: Job[UnpackArchive]) -> None:
    """Unpack the body, an archive, into a directory."""
    request, body = job.request, job.require_body()
    container = daemon.containers.get(request.name)
    path = paths.absolute(request.path)
    async with viewed(daemon, container, writing=True) as view:
        with paths.in_words_of(request):
            base = await in_thread(paths.resolve_directory, view.root, path)
        _check_writable(container, b"/" + base)
        owner = await in_thread(_owner, view, container) if request.copy_uid_gid else None
        with blaming_the_caller():
            await copy.unpack_into(view.namespace, body, Placement(base, owner, request.keep_kinds))
    daemon.publish(container, "extract-to-dir")


async def container_export(daemon: Daemon, job: Job[ExportContainer]) -> None:
    """Send a tar of the container's files, without what is mounted in it."""
    container = daemon.containers.get(job.request.name)
    output = job.require_output()
    refuse_gone(container, "export")
    async with viewed_bare(daemon, container) as view:
        await _send(copy.pack_tree(view.namespace), output)
    daemon.publish(container, "export")


def refuse_gone(container: Container, deed: str) -> None:
    """Raise `Conflict` with Docker's message for a container that no longer has files."""
    if container.state.status is Status.DEAD:
        raise Conflict(f"You cannot {deed} container {container.id} which is Dead")
    if container.state.status is Status.REMOVING:
        raise Conflict(f"You cannot {deed} container {container.id} which is being removed")


async def _send(pieces: AsyncGenerator[bytes, None], output: Output) -> None:
    async with aclosing(pieces):
        async for piece in pieces:
            await output.write(piece)


def _check_writable(container: Container, path: bytes) -> None:
    """Source of the messages: moby daemon/archive_unix.go, checkIfPathIsInAVolume."""
    volume = _volume_of(container.record.mounts, path)
    if volume is not None and not volume.rw:
        raise InvalidArgument("mounted volume is marked read-only")
    host = container.record.host_config
    if volume is None and host.readonly_rootfs and not any(_is_in(path, one) for one in host.tmpfs or ()):
        raise InvalidArgument("container rootfs is marked read-only")


def _volume_of(points: Sequence[MountPoint], path: bytes) -> MountPoint | None:
    """The mount that contains `path`."""
    around = [point for point in points if _is_in(path, point.destination)]
    return max(around, key=lambda point: len(point.destination), default=None)


def _is_in(path: bytes, directory: str) -> bool:
    return (path + b"/").startswith(directory.rstrip("/").encode() + b"/")


def _owner(view: View, container: Container) -> tuple[int, int] | None:
    """The container's user, if it has one, looked up in the container's own files."""
    name = container.record.config.user
    if not name:
        return None
    found = user.look_up(view.root, name)
    return found.uid, found.gid
