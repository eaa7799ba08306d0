"""The `copy` storage driver: a snapshot is a plain directory, and a child is a copy of its parent.

For hosts where overlayfs does not work: the data root is itself on an overlay, or on a file system that overlayfs
can't use. Each copy costs disk space and time, but little if the file system has reflinks. Modelled on Docker's vfs
graph driver.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sampan.drivers import Change, Mount, Snapshot, SnapshotKind, StorageCapabilities, Usage
from sampan.errdefs import Conflict, DataLoss, InvalidArgument, SystemFailure, Unsupported
from sampan.storage.copy_changes import CopiedTree
from sampan.storage.copy_tree import copy_tree
from sampan.storage.file_system import has_reflinks, type_of
from sampan.storage.metadata import Metadata, Row
from sampan.storage.trash import Trash
from sampan.storage.usage import disk_usage

_log = logging.getLogger(__name__)
_MAKING = "making-"
_PROBE = "probe-"


class CopyDriver:
    """A `StorageDriver` on plain directories.

    metadata.db             the snapshots: one exists if it has a row
    snapshots/<n>/fs        the files of snapshot number n; a view has none, it shows its parent's
    snapshots/<n>/copied    an empty file; its ctime is when the copy was complete
    snapshots/making-*      being copied
    trash/                  being deleted

    A directory gets its number in the transaction that inserts its row, and is removed after the row. So a killed
    daemon leaves at most directories without a row, which the next instance removes.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._snapshots = state_dir / "snapshots"
        self._snapshots.mkdir(exist_ok=True)
        self._metadata = Metadata(state_dir / "metadata.db")
        self._trash = Trash(state_dir / "trash")
        self._lock = threading.Lock()
        self._making: dict[str, str | None] = {}
        self._clear()

    @property
    def capabilities(self) -> StorageCapabilities:
        """Changes, but no quota and no detached layers: a layer is unpacked on a copy of its parent."""
        return StorageCapabilities(changes=True)

    def probe(self) -> str | None:
        """Try to copy a small tree."""
        try:
            with TemporaryDirectory(prefix=_PROBE, dir=self._state_dir) as scratch:
                source = Path(scratch, "source")
                source.mkdir()
                (source / "file").write_text("content")
                copy_tree(source, Path(scratch, "target"))
        except (OSError, SystemFailure) as error:
            return f"a directory can't be copied in {self._state_dir}: {error}"
        return None

    def prepare(
        self,
        key: str,
        parent: str | None,
        *,
        labels: dict[str, str] | None = None,
        size_bytes: int | None = None,
    ) -> list[Mount]:
        """Copy `parent`, which takes time proportional to its size."""
        if size_bytes is not None:
            raise Unsupported("the copy storage driver has no quota")
        self._create(Snapshot(key, SnapshotKind.ACTIVE, parent, dict(labels or {})))
        return self.mounts(key)

    def view(self, key: str, parent: str) -> list[Mount]:
        """The parent's own directory, to be mounted read-only."""
        self._create(Snapshot(key, SnapshotKind.VIEW, parent))
        return self.mounts(key)

    def mounts(self, key: str) -> list[Mount]:
        """One bind mount."""
        row = self._metadata.get_mountable(key)
        self.check(key)
        access = "ro" if row.snapshot.kind is SnapshotKind.VIEW else "rw"
        return [Mount("bind", str(self._files_of(row)), ("bind", access))]

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        """Update one row, whatever the snapshot's size."""
        with self._metadata.transaction():
            row = self._metadata.get_active(key)
            if parent is not None:
                raise InvalidArgument(f"snapshot {key} is not a detached layer")
            self._metadata.commit(row.number, name, row.parent)

    def detached_dir(self, key: str) -> Path:
        """Not supported."""
        raise Unsupported("the copy storage driver has no detached layers")

    def remove(self, name: str) -> None:
        """Delete the row and move the directory to the trash; its files are deleted in the background."""
        with self._lock:
            if name in self._making.values():
                raise Conflict(f"snapshot {name} has children")
            with self._metadata.transaction():
                row = self._metadata.get(name)
                self._metadata.delete(row)
        try:
            self._discard(self._snapshot(row.number))
        except OSError as error:  # it is removed nevertheless: the next start deletes the directory
            _log.warning("the files of removed snapshot %s stay until the next start: %s", name, error)

    def check(self, name: str) -> None:
        """Check that its directory exists."""
        row = self._metadata.get(name)
        if not self._files_of(row).is_dir():
            raise DataLoss(f"snapshot {name} lost its files {self._files_of(row)}")

    def stat(self, name: str) -> Snapshot:
        """From the metadata."""
        return self._metadata.get(name).snapshot

    def usage(self, name: str) -> Usage:
        """Count the copy's files; a committed snapshot's only the first time.

        Blocks shared by reflinks are counted in each file, as by du(1).
        """
        row = self._metadata.get(name)
        if row.snapshot.kind is SnapshotKind.VIEW:
            return Usage(0, 0)
        return self._metadata.usage_of(row, lambda: disk_usage(self._files(row.number)))

    def changes(self, key: str) -> Iterator[Change]:
        """Compare the copy with its original."""
        row = self._metadata.get_active(key)
        original = self._files(row.parent) if row.parent is not None else None
        copied_at_ns = self._stamp(self._snapshot(row.number)).stat().st_ctime_ns
        return CopiedTree(self._files(row.number), original, copied_at_ns).changes()

    def status(self) -> list[tuple[str, str]]:
        """The backing file system, and whether it has reflinks."""
        reflinks = "true" if has_reflinks(self._state_dir) else "false"
        return [("Backing Filesystem", type_of(self._state_dir)), ("Reflinks", reflinks)]

    def list(self) -> Iterator[Snapshot]:
        """From the metadata."""
        return (row.snapshot for row in self._metadata.list())

    def wait_for_removals(self) -> None:
        """Wait until the files of all removed snapshots are deleted."""
        self._trash.wait()

    def close(self) -> None:
        """Wait for removals and close the metadata; the driver can't be used afterwards."""
        self._trash.wait()
        self._metadata.close()

    def _create(self, snapshot: Snapshot) -> None:
        with self._reserving(snapshot.name, snapshot.parent), ExitStack() as undo:
            parent = self._metadata.get_parent(snapshot.parent).number if snapshot.parent is not None else None
            made = self._snapshots / f"{_MAKING}{uuid.uuid4().hex}"
            undo.callback(self._discard, made)
            try:
                self._fill(made, parent, snapshot.kind)
                with self._metadata.transaction():
                    number = self._metadata.insert(snapshot, parent)
                    undo.callback(self._discard, self._snapshot(number))
                    made.rename(self._snapshot(number))
            except (OSError, SystemFailure) as error:
                raise SystemFailure(f"can't make snapshot {snapshot.name}: {error}") from error
            undo.pop_all()

    def _fill(self, made: Path, parent: int | None, kind: SnapshotKind) -> None:
        made.mkdir(mode=0o700)
        if kind is SnapshotKind.VIEW:
            return
        if parent is None:
            (made / "fs").mkdir(mode=0o755)
        else:
            copy_tree(self._files(parent), made / "fs")
        self._stamp(made).touch()

    @contextmanager
    def _reserving(self, name: str, parent: str | None) -> Iterator[None]:
        """Keep others from creating `name` and removing `parent`. Raises `Conflict` if `name` exists."""
        with self._lock:
            if name in self._making or self._metadata.find(name) is not None:
                raise Conflict(f"snapshot {name} already exists")
            self._making[name] = parent
        try:
            yield
        finally:
            with self._lock:
                del self._making[name]

    def _snapshot(self, number: int) -> Path:
        return self._snapshots / str(number)

    def _files(self, number: int) -> Path:
        return self._snapshot(number) / "fs"

    def _files_of(self, row: Row) -> Path:
        if row.snapshot.kind is SnapshotKind.VIEW and row.parent is not None:
            return self._files(row.parent)
        return self._files(row.number)

    def _stamp(self, snapshot: Path) -> Path:
        return snapshot / "copied"

    def _discard(self, snapshot: Path) -> None:
        if snapshot.exists():
            self._trash.put(snapshot)

    def _clear(self) -> None:
        """Remove what a killed daemon left half created or half removed."""
        known = {str(row.number) for row in self._metadata.list()}
        for directory in self._snapshots.iterdir():
            if directory.name not in known:
                self._discard(directory)
        for probe in self._state_dir.glob(f"{_PROBE}*"):
            self._trash.put(probe)
        self._trash.empty()
