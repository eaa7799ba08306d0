"""container_changes: how a container's files differ from its image's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.filesystem.paths import shown
from sampan.drivers import Change, ChangeKind
from sampan.engine import Job
from sampan.models import ContainerChanges, FilesystemChange
from sampan.tasks import in_thread

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_changes(daemon: Daemon, job: Job[ContainerChanges]) -> list[FilesystemChange]:
    """The paths that differ, each directory before its content."""
    container = daemon.containers.get(job.request.name)
    found = await in_thread(changes_of, daemon, container)
    return [FilesystemChange(path=shown(path), kind=int(kind)) for path, kind in found]


def changes_of(daemon: Daemon, container: Container) -> list[tuple[bytes, ChangeKind]]:
    """The paths and how they differ. Blocks. Raises `Unsupported` if the storage driver does not support it."""
    return [_as_bytes(change) for change in daemon.storage.changes(container.id)]


def _as_bytes(change: Change) -> tuple[bytes, ChangeKind]:
    return change.path.encode(errors="surrogateescape"), change.kind
