"""The storage driver `overlayfs`: a snapshot is an overlay layer.

Modelled on containerd's overlay snapshotter (plugins/snapshots/overlay). Differences: layers are unpacked detached
and get their parent at commit, mount options are chosen explicitly rather than left to the kernel's defaults,
symbolic links keep the options short, and removal is a rename.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from sampan.drivers import (
    Change,
    LayerFormat,
    Mount,
    Snapshot,
    SnapshotKind,
    StorageCapabilities,
    Usage,
)
from sampan.errdefs import DataLoss, InvalidArgument, SystemFailure, Unsupported
from sampan.storage.file_system import type_of
from sampan.storage.metadata import Metadata, Row
from sampan.storage.quota import ProjectQuota
from sampan.storage.trash import Trash
from sampan.storage.usage import disk_usage
from sampan_overlayfs import options
from sampan_overlayfs.changes import changes_of
from sampan_overlayfs.layout import Layout
from sampan_overlayfs.probe import why_not

_log = logging.getLogger(__name__)


class OverlayDriver:
    """A `StorageDriver` on overlayfs.

    The metadata rows are authoritative. Directories are created before their row and removed after it, so a crash
    leaves at most directories without a row, which the next start removes.
    """

    def __init__(self, state_dir: Path) -> None:
        self._layout = Layout(state_dir)
        self._layout.snapshots.mkdir(exist_ok=True)
        self._layout.links.mkdir(exist_ok=True)
        self._metadata = Metadata(self._layout.metadata)
        self._trash = Trash(self._layout.trash)
        self._quota = ProjectQuota(state_dir)
        self._clear()

    @property
    def capabilities(self) -> StorageCapabilities:
        """Detached layers and changes; quota if the file system supports it."""
        return StorageCapabilities(detached_layers=LayerFormat.OVERLAY, changes=True, quota=self._quota.is_there)

    def probe(self) -> str | None:
        """Mount an overlay in a private mount namespace and say what went wrong."""
        return why_not(self._layout.state_dir)

    def prepare(
        self,
        key: str,
        parent: str | None,
        *,
        labels: dict[str, str] | None = None,
        size_bytes: int | None = None,
    ) -> list[Mount]:
        """Create the layer's directory; nothing is copied. `size_bytes` limits what can be written to it."""
        if size_bytes is not None and not self._quota.is_there:
            place = f"{self._layout.state_dir}, which lies on {type_of(self._layout.state_dir)}"
            raise Unsupported(f"a size can be limited only on XFS mounted with the option pquota, not in {place}")
        snapshot = Snapshot(key, SnapshotKind.ACTIVE, parent, dict(labels or {}))
        return [self._mount(self._create(snapshot, size_bytes))]

    def view(self, key: str, parent: str) -> list[Mount]:
        """As `prepare`, but without a directory for writes."""
        return [self._mount(self._create(Snapshot(key, SnapshotKind.VIEW, parent)))]

    def mounts(self, key: str) -> list[Mount]:
        """An overlay, or a bind mount if there is only one layer."""
        row = self._metadata.get_mountable(key)
        return [self._mount(row)]

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        """Change one row; the cost does not depend on the layer's size."""
        with self._metadata.transaction():
            row = self._metadata.get_active(key)
            above = row.parent
            if parent is not None:
                _refuse_attached(row)
                above = self._metadata.get_parent(parent).number
            self._metadata.commit(row.number, name, above)
        if row.parent is not None:
            self._trash.put(self._layout.work(row.number))

    def detached_dir(self, key: str) -> Path:
        """The layer's own directory."""
        row = self._metadata.get_active(key)
        _refuse_attached(row)
        return self._layout.files(row.number)

    def remove(self, name: str) -> None:
        """Delete the row and move the directory to the trash, whose files are deleted in the background."""
        with self._metadata.transaction():
            row = self._metadata.get(name)
            self._metadata.delete(row)
        try:
            self._discard(row.number)
        except OSError as error:  # the snapshot is removed anyway: the next start clears the directory
            _log.warning("the files of removed snapshot %s stay until the next start: %s", name, error)

    def check(self, name: str) -> None:
        """Raise `DataLoss` unless its layer is there, with the short name that mounts use."""
        row = self._metadata.get(name)
        needed = [self._layout.files(row.number), self._layout.link(row.number)]
        if row.parent is not None and row.snapshot.kind is SnapshotKind.ACTIVE:
            needed.append(self._layout.work(row.number))
        for path in needed:
            if not path.is_dir():
                raise DataLoss(f"snapshot {name} lost {path}")

    def stat(self, name: str) -> Snapshot:
        """From the metadata."""
        return self._metadata.get(name).snapshot

    def usage(self, name: str) -> Usage:
        """Count the layer's files; for a committed snapshot, only once."""
        row = self._metadata.get(name)
        return self._metadata.usage_of(row, lambda: disk_usage(self._layout.files(row.number)))

    def changes(self, key: str) -> Iterator[Change]:
        """Derive the changes from the upper directory."""
        row = self._metadata.get_active(key)
        lowers = [self._layout.files(number) for number in self._metadata.ancestors(row.number)]
        return changes_of(self._layout.files(row.number), lowers)

    def status(self) -> list[tuple[str, str]]:
        """The backing file system and the mount options."""
        chosen = [(name, value) for name, _, value in (option.partition("=") for option in options.ALWAYS)]
        quota = "true" if self._quota.is_there else "false"
        return [("Backing Filesystem", type_of(self._layout.state_dir)), ("Quota", quota), *chosen]

    def list(self) -> Iterator[Snapshot]:
        """From the metadata."""
        return (row.snapshot for row in self._metadata.list())

    def wait_for_removals(self) -> None:
        """Wait until the files of all removed snapshots are deleted."""
        self._trash.wait()

    def close(self) -> None:
        """Close the metadata; the driver can't be used after that."""
        self._trash.wait()
        self._metadata.close()

    def _create(self, snapshot: Snapshot, size_bytes: int | None = None) -> Row:
        with ExitStack() as undo:
            with self._metadata.transaction():
                parent = self._metadata.get_parent(snapshot.parent).number if snapshot.parent is not None else None
                number = self._metadata.insert(snapshot, parent)
                undo.callback(self._discard, number)
                try:
                    self._make_directories(number, parent, snapshot.kind)
                except OSError as error:
                    raise SystemFailure(f"can't make snapshot {snapshot.name}: {error}") from error
                if size_bytes is not None:
                    self._limit(number, size_bytes)
            undo.pop_all()
        return Row(number, parent, snapshot, usage=None)

    def _make_directories(self, number: int, parent: int | None, kind: SnapshotKind) -> None:
        self._layout.snapshot(number).mkdir(mode=0o700)
        files = self._layout.files(number)
        files.mkdir(mode=0o755)
        if parent is not None and kind is SnapshotKind.ACTIVE:
            self._layout.work(number).mkdir(mode=0o700)
            _copy_ownership(self._layout.files(parent), files)
        self._layout.link(number).symlink_to(self._layout.link_target(number))

    def _limit(self, number: int, size_bytes: int) -> None:
        """Limit the layer and the work directory, in which overlayfs creates files before it renames them."""
        trees = (self._layout.files(number), self._layout.work(number))
        self._quota.limit(number, [tree for tree in trees if tree.exists()], size_bytes)

    def _mount(self, row: Row) -> Mount:
        lowers = self._lowers(row)
        if row.snapshot.kind is SnapshotKind.VIEW:
            if len(lowers) == 1:
                return Mount("bind", str(lowers[0].resolve()), ("bind", "ro"))
            return Mount("overlay", "overlay", options.read_only(lowers))
        files = self._layout.files(row.number)
        if not lowers:
            return Mount("bind", str(files), ("bind", "rw"))
        return Mount("overlay", "overlay", options.writable(files, self._layout.work(row.number), lowers))

    def _lowers(self, row: Row) -> tuple[Path, ...]:
        lowers = tuple(self._layout.link(number) for number in self._metadata.ancestors(row.number))
        for lower in lowers:
            if not lower.exists():
                raise DataLoss(f"snapshot {row.snapshot.name} lost its layer {lower.resolve()}")
        return lowers

    def _discard(self, number: int) -> None:
        self._layout.link(number).unlink(missing_ok=True)
        self._quota.lift(self._layout.files(number))
        if self._layout.snapshot(number).exists():
            self._trash.put(self._layout.snapshot(number))

    def _clear(self) -> None:
        """Remove what a killed daemon left half created or half removed."""
        known = {row.number for row in self._metadata.list()}
        for directory in self._layout.snapshots.iterdir():
            if directory.name.isdigit() and int(directory.name) not in known:
                self._discard(int(directory.name))
        for probe in self._layout.state_dir.glob("probe-*"):
            self._trash.put(probe)
        self._trash.empty()


def _refuse_attached(row: Row) -> None:
    if row.parent is not None:
        raise InvalidArgument(f"snapshot {row.snapshot.name} was prepared on a parent")


def _copy_ownership(source: Path, target: Path) -> None:
    """The upper directory becomes the root of the mount, so it must look like the root of the layers below."""
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)
