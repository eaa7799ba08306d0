"""Volumes: directories that outlive containers."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from sampan.daemon.clock import now_ns
from sampan.daemon.volumes import volume_options
from sampan.drivers import VolumeDriver
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.state import Change, Database
from sampan.syscalls.mount import mounts_below

_log = logging.getLogger(__name__)
LOCAL_DRIVER = "local"
_ALLOWED = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_TRASH = ".removing-"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"


class VolumeRecord(BaseModel):
    """One volume: the `document` of its row.

    `owner` is a container that is not fully created yet, or that is removed together with the volume; without it, the
    volume should not exist.
    """

    name: str
    owner: str | None = None
    created_at_ns: int = Field(default_factory=now_ns)
    driver: str = LOCAL_DRIVER
    labels: dict[str, str] = Field(default_factory=dict)
    options: dict[str, str] = Field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        """Whether it was created for a container without being named."""
        return ANONYMOUS_LABEL in self.labels


class Volumes:
    """The volumes: those of the driver `local` in one directory, others where their drivers keep them.

    Every change is written through to the database.
    """

    def __init__(self, database: Database, dir: Path, drivers: Mapping[str, VolumeDriver] | None = None) -> None:
        """`drivers` are those other than `local`, by the name that selects them."""
        self._database = database
        self._dir = dir
        self.drivers = drivers or {}
        self._volumes: dict[str, VolumeRecord] = {}
        self._lock = asyncio.Lock()

    def load(self) -> None:
        """Read all volumes from the database.

        One that can't be read keeps its name and content, but not its labels.
        """
        for name, document in self._database.read(
            lambda c: c.execute("SELECT name, document FROM volumes").fetchall()
        ):
            try:
                self._volumes[name] = VolumeRecord.model_validate_json(document)
            except ValidationError as error:
                problem = error.errors()[0]["msg"]
                _log.error("volume %s can't be read from the database and has lost its labels: %s", name, problem)
                self._volumes[name] = VolumeRecord(name=name)

    def __iter__(self) -> Iterator[VolumeRecord]:
        return iter(list(self._volumes.values()))

    def get(self, name: str) -> VolumeRecord:
        """Raises `NotFound` with Docker's message."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def find(self, name: str) -> VolumeRecord | None:
        """As `get`, but `None` if there is none."""
        return self._volumes.get(name)

    def path(self, name: str) -> Path:
        """The directory that a container sees. Raises `NotFound` if the volume's driver is not installed."""
        driver = self.driver(name)
        return self._local_path(name) if driver is None else driver.path(name)

    def driver(self, name: str) -> VolumeDriver | None:
        """The driver of a volume; `None` if it is local or does not exist.

        Raises `NotFound` if it is not installed.
        """
        record = self._volumes.get(name)
        if record is None or record.driver == LOCAL_DRIVER:
            return None
        return self._installed(name, record.driver)

    def _installed(self, name: str, driver: str) -> VolumeDriver:
        try:
            return self.drivers[driver]
        except KeyError:
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            ) from None

    def _local_path(self, name: str) -> Path:
        return self._dir / name / "_data"

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        owner: str | None = None,
    ) -> tuple[VolumeRecord, bool]:
        """The volume `name`, and whether it is new, in which case it belongs to `owner`; no name means anonymous.

        An existing volume may have any driver, unless one is asked for: then `Conflict` is raised with Docker's
        message.
        """
        keeper = None if driver in (LOCAL_DRIVER, "") else self._installed(name, driver)
        async with self._lock:
            if known := self._volumes.get(name):
                if driver not in ("", known.driver):
                    raise Conflict(
                        f"create {name}: driver '{known.driver}' already has volume '{name}': "
                        "volume name must be unique"
                    )
                return known, False
            record = VolumeRecord(
                name=name or secrets.token_hex(32),
                owner=owner,
                driver=driver or LOCAL_DRIVER,
                labels=labels or {},
                options=options or {},
            )
            if not name:
                record.labels.setdefault(ANONYMOUS_LABEL, "")
            _check_name(record.name)
            await self._add(record, keeper)
            return record, True

    async def _add(self, record: VolumeRecord, keeper: VolumeDriver | None) -> None:
        """Create the volume's directory and its row, or neither."""
        await asyncio.to_thread(self._make, record, keeper)
        row = (record.name, record.model_dump_json())
        try:
            await self._database.write(lambda c: c.execute("INSERT INTO volumes VALUES (?, ?)", row))
        except SystemFailure:
            await asyncio.to_thread(self._unmake, record, keeper)
            raise
        self._volumes[record.name] = record

    def owned(self, names: Iterable[str], owner: str | None) -> Change:
        """Set or clear the owner of volumes; returns the write for it, to be part of the caller's transaction."""
        records = [record for name in names if (record := self.find(name)) and record.owner != owner]
        for record in records:
            record.owner = owner
        rows = [(record.model_dump_json(), record.name) for record in records]
        return lambda connection: connection.executemany("UPDATE volumes SET document = ? WHERE name = ?", rows)

    async def disown(self, name: str) -> None:
        """Clear the volume's owner, so that it stays until somebody removes it."""
        await self._database.write(self.owned([name], None))

    async def remove(self, name: str, users: Callable[[], Iterable[str]] = tuple) -> None:
        """Remove the volume and its content. Raises `NotFound`, or `Conflict` if `users` returns any containers.

        `users` is called when nobody can be given the volume any more.
        """
        async with self._lock:
            self.get(name)
            if having := list(users()):
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(having)}]")
            if driver := self.driver(name):
                await asyncio.to_thread(driver.remove, name)
                await self._forget(name)
                return
            await asyncio.to_thread(_move_away, self._dir / name, self._trash(name))
            await self._finish_removal(name)

    async def reconcile(self) -> None:
        """Complete what a killed daemon left half done.

        Content is never removed unless somebody had asked for that.
        """
        for entry in await asyncio.to_thread(_entries, self._dir):
            if entry.name.startswith(_TRASH):
                await self._finish_removal(entry.name.removeprefix(_TRASH))
            elif entry.name not in self._volumes and not await asyncio.to_thread(_remove_if_empty, entry):
                _log.warning("%s belongs to no volume and is left alone", entry)

    async def _finish_removal(self, name: str) -> None:
        """Remove the content first, as the database may need the space on a full disk.

        The trash records the intention.
        """
        trash = self._trash(name)
        await asyncio.to_thread(_clear, trash)
        await self._forget(name)
        await asyncio.to_thread(trash.rmdir)

    async def _forget(self, name: str) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM volumes WHERE name = ?", (name,)))
        self._volumes.pop(name, None)

    def _trash(self, name: str) -> Path:
        return self._dir / f"{_TRASH}{name}"

    def _make(self, record: VolumeRecord, keeper: VolumeDriver | None) -> None:
        if keeper is not None:
            keeper.create(record.name, record.options)
            return
        volume_options.check(record.name, record.options)
        self._make_dir(record.name)

    def _unmake(self, record: VolumeRecord, keeper: VolumeDriver | None) -> None:
        if keeper is not None:
            keeper.remove(record.name)
        else:
            _remove_if_empty(self._dir / record.name)

    def _make_dir(self, name: str) -> None:
        path = self._local_path(name)
        try:
            path.parent.mkdir(mode=0o701, parents=True, exist_ok=True)
            path.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise SystemFailure(
                f"create {name}: error while creating volume root path '{path}': mkdir {error.filename}: {reason}"
            ) from error


def _entries(dir: Path) -> list[Path]:
    return list(dir.iterdir()) if dir.is_dir() else []


def _move_away(directory: Path, trash: Path) -> None:
    """Move a volume's directory to the trash, even if that was done before, or it was removed by hand.

    Raises `SystemFailure` if something is mounted there, which is not ours to remove.
    """
    if places := mounts_below(directory):
        raise SystemFailure(f"remove {directory.name}: {places[0]} is a mount point: unmount it first")
    if directory.exists():
        directory.rename(trash)
    else:
        trash.mkdir(exist_ok=True)


def _clear(directory: Path) -> None:
    for entry in directory.iterdir():
        shutil.rmtree(entry)


def _remove_if_empty(entry: Path) -> bool:
    try:
        with suppress(FileNotFoundError):  # a killed daemon may not have created it yet
            (entry / "_data").rmdir()
        entry.rmdir()
    except OSError:
        return False
    return True


def _check_name(name: str) -> None:
    if not _ALLOWED.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if len(name) < 2:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
