"""container_rename. Source of the messages: moby daemon/rename.go."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.settings.names import check_name
from sampan.engine import Job
from sampan.errdefs import InvalidArgument, explained
from sampan.models import RenameContainer

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


async def container_rename(daemon: Daemon, job: Job[RenameContainer]) -> None:
    """Give a container another name, also on its networks. Raises `Conflict` if another container has it."""
    old, new = (name.strip().removeprefix("/") for name in (job.request.name, job.request.new_name))
    if not (old and new):
        raise InvalidArgument("Neither old nor new names may be empty")
    async with daemon.alone(old) as container:
        before = container.record.name
        if new == before:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        await _rename(daemon, container, new)
    daemon.publish(container, "rename", oldName=f"/{before}")


async def _rename(daemon: Daemon, container: Container, new: str) -> None:
    record, before = container.record, container.record.name
    async with AsyncExitStack() as undo:
        with explained("Error when allocating new name"):
            daemon.containers.reserve(check_name(f"/{new}"), container.id)
        undo.callback(daemon.containers.release, new)
        record.name = new
        undo.callback(setattr, record, "name", before)
        await daemon.networks.rename(container.id, new)
        undo.push_async_callback(daemon.networks.rename, container.id, before)
        await daemon.containers.save(container)
        undo.pop_all()
    daemon.containers.release(before)
