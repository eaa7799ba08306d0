"""All containers, by ID and by name; every change is written through to the database."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from sampan.daemon.container import Container, Record, State, Status
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.models import ContainerConfig, HostConfig
from sampan.state import Change, Database

_log = logging.getLogger(__name__)


class Containers:
    """The containers of this daemon. Reading never waits; `add`, `save` and `delete` reach the disk."""

    def __init__(self, database: Database, data_dir: Path, exec_dir: Path) -> None:
        self._database = database
        self._data_dir = data_dir
        self._exec_dir = exec_dir
        self._by_id: dict[str, Container] = {}
        self._id_of: dict[str, str] = {}

    def load(self) -> None:
        """Read all containers from the database. One that can't be read is dead, but keeps its name and files."""
        rows = self._database.read(lambda c: c.execute("SELECT id, name, document FROM containers").fetchall())
        for id, name, document in rows:
            try:
                self._enter(self.make(Record.model_validate_json(document)))
            except (ValidationError, InvalidArgument) as error:
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
                problem = f"its record can't be read from the database: {reason}"
                _log.error("container %s (%s): %s", id, name, problem)
                self._enter(self.make(_unreadable(id, name, problem), readable=False))

    def make(self, record: Record, *, readable: bool = True) -> Container:
        """Create the object for `record` without adding it."""
        return Container(record, self._data_dir / record.id, self._exec_dir / record.id, readable=readable)

    def __iter__(self) -> Iterator[Container]:
        return iter(list(self._by_id.values()))

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def get(self, name: str) -> Container:
        """Find by ID, name, or unambiguous prefix of an ID. Raises `NotFound`, `InvalidArgument`."""
        if not name:
            raise InvalidArgument('invalid name or ID supplied: ""')
        container = self.find(name)
        if container is None:
            raise NotFound(f"No such container: {name}")
        return container

    def find(self, name: str) -> Container | None:
        """As `get`, but `None` if there is none."""
        bare = name.removeprefix("/")
        if not bare:
            return None
        id = bare if bare in self._by_id else self._id_of.get(bare)
        if id is None:
            ids = [id for id in self._by_id if id.startswith(bare)]
            if len(ids) > 1:
                raise InvalidArgument(f"multiple IDs found with provided prefix: {bare}")
            id = ids[0] if ids else None
        return self._by_id.get(id) if id else None  # a name may be reserved for one still being created

    def taken(self, name: str) -> bool:
        """Whether a container has this name."""
        return name in self._id_of

    def reserve(self, name: str, id: str) -> None:
        """Reserve `name` for `id`. Raises `Conflict` with Docker's message."""
        owner = self._id_of.setdefault(name, id)
        if owner != id:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def release(self, name: str) -> None:
        """Release a reserved name."""
        self._id_of.pop(name, None)

    async def add(self, container: Container, *, also: Change) -> None:
        """Add a new container, whose name is reserved; `also` runs in the same transaction."""
        record = container.record
        row = (record.id, record.name, record.model_dump_json())

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO containers VALUES (?, ?, ?)", row)
            also(connection)

        try:
            await self._database.write(change)
        except asyncio.CancelledError:  # which does not interrupt the write
            await self._database.write(lambda c: c.execute("DELETE FROM containers WHERE id = ?", (record.id,)))
            raise
        self._enter(container)

    async def save(self, container: Container) -> None:
        """Write the record in its current state."""
        record = container.record
        row = (record.name, record.model_dump_json(), record.id)
        await self._database.write(
            lambda c: c.execute("UPDATE containers SET name = ?, document = ? WHERE id = ?", row), durable=False
        )

    async def try_save(self, container: Container) -> None:
        """As `save`, but failures are only logged, for changes that have happened already and are kept in memory."""
        try:
            await self.save(container)
        except SystemFailure as error:
            _log.error("the state of container %s can't be stored: %s", container.id, error)

    async def delete(self, container: Container, *, also: Change) -> None:
        """Forget the container; `also` runs in the same transaction."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM containers WHERE id = ?", (container.id,))
            also(connection)

        await self._database.write(change, durable=False)
        self._by_id.pop(container.id, None)
        self.release(container.record.name)

    def _enter(self, container: Container) -> None:
        self._by_id[container.id] = container
        self._id_of[container.record.name] = container.id


def _unreadable(id: str, name: str, problem: str) -> Record:
    """What is known about a container whose record can't be read."""
    return Record(
        id=id,
        name=name,
        image_id="",
        image_name="",
        config=ContainerConfig(),
        host_config=HostConfig(),
        networks={},
        mounts=[],
        args=[""],
        state=State(status=Status.DEAD, error=problem),
    )
