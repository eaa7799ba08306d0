"""A storage driver that keeps its tree in memory and its content in plain directories.

It needs no root and no overlayfs: a child is a copy of its parent, and `mounts` returns bind mounts. It passes the
same suite as the real drivers, so tests of the layers above a storage driver can rely on it.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.drivers import (
    Change,
    ChangeKind,
    LayerFormat,
    Mount,
    Snapshot,
    SnapshotKind,
    StorageCapabilities,
    Usage,
)
from sampan.errdefs import Conflict, DataLoss, InvalidArgument, NotFound, Unsupported
from sampan.storage.usage import disk_usage

_OPAQUE = "trusted.overlay.opaque"


@dataclass
class _Held:
    snapshot: Snapshot
    dir: Path


class MemoryStorage:
    """A `StorageDriver` for tests. Its snapshots are lost with the object.

    With `detached` it declares the capability `detached_layers`. The content of a mountable snapshot is in the
    directory named by `mounts`, so a test may read and write it without mounting.
    """

    def __init__(self, state_dir: Path, *, detached: bool = False) -> None:
        self._dir = state_dir / "content"
        self._detached = detached
        self._held: dict[str, _Held] = {}
        self._number = 0
        self._lock = threading.RLock()

    @property
    def capabilities(self) -> StorageCapabilities:
        """Changes, and detached layers if requested; no quota."""
        return StorageCapabilities(detached_layers=LayerFormat.OVERLAY if self._detached else None, changes=True)

    def probe(self) -> str | None:
        """It works everywhere."""
        return None

    def prepare(
        self,
        key: str,
        parent: str | None,
        *,
        labels: dict[str, str] | None = None,
        size_bytes: int | None = None,
    ) -> list[Mount]:
        """Copy `parent` into a new directory."""
        if size_bytes is not None:
            raise Unsupported("the memory storage driver has no quota")
        self._create(Snapshot(key, SnapshotKind.ACTIVE, parent, dict(labels or {})))
        return self.mounts(key)

    def view(self, key: str, parent: str) -> list[Mount]:
        """As `prepare`, to be mounted read-only."""
        self._create(Snapshot(key, SnapshotKind.VIEW, parent))
        return self.mounts(key)

    def mounts(self, key: str) -> list[Mount]:
        """One bind mount of the snapshot's directory."""
        with self._lock:
            held = self._get(key)
            if held.snapshot.kind is SnapshotKind.COMMITTED:
                raise InvalidArgument(f"snapshot {key} is committed")
            access = "ro" if held.snapshot.kind is SnapshotKind.VIEW else "rw"
            return [Mount("bind", str(held.dir), ("bind", access))]

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        """Rename `key`; a detached layer is first applied to a copy of `parent`."""
        with self._lock:
            held = self._get(key)
            if held.snapshot.kind is not SnapshotKind.ACTIVE:
                raise InvalidArgument(f"snapshot {key} is not active")
            self._refuse_existing(name)
            if parent is not None:
                self._refuse_attached(held.snapshot)
                held.dir = self._laid_over(self._parent(parent), held.dir)
            kept = held.snapshot
            held.snapshot = Snapshot(name, SnapshotKind.COMMITTED, parent or kept.parent, kept.labels)
            self._held[name] = self._held.pop(key)

    def detached_dir(self, key: str) -> Path:
        """The directory of `key` itself."""
        if not self._detached:
            raise Unsupported("the memory storage driver was made without detached layers")
        with self._lock:
            held = self._get(key)
            self._refuse_attached(held.snapshot)
            return held.dir

    def remove(self, name: str) -> None:
        """Forget the snapshot and delete its directory."""
        with self._lock:
            held = self._get(name)
            if any(other.snapshot.parent == name for other in self._held.values()):
                raise Conflict(f"snapshot {name} has children")
            del self._held[name]
        shutil.rmtree(held.dir, ignore_errors=True)

    def check(self, name: str) -> None:
        """Check that its directory exists."""
        with self._lock:
            held = self._get(name)
        if not held.dir.is_dir():
            raise DataLoss(f"snapshot {name} lost its files {held.dir}")

    def stat(self, name: str) -> Snapshot:
        """From memory."""
        with self._lock:
            return self._get(name).snapshot

    def usage(self, name: str) -> Usage:
        """The disk usage of the whole copy."""
        with self._lock:
            root = self._get(name).dir
        return disk_usage(root)

    def changes(self, key: str) -> Iterator[Change]:
        """Compare the copy with its original."""
        with self._lock:
            held = self._get(key)
            if held.snapshot.kind is not SnapshotKind.ACTIVE:
                raise InvalidArgument(f"snapshot {key} is not active")
            before = self._get(held.snapshot.parent).dir if held.snapshot.parent else None
            return iter(list(_changes(held.dir, before, "")))

    def status(self) -> list[tuple[str, str]]:
        """The number of snapshots."""
        return [("Snapshots", str(len(self._held)))]

    def list(self) -> Iterator[Snapshot]:
        """All snapshots."""
        with self._lock:
            return iter([held.snapshot for held in self._held.values()])

    def _create(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._refuse_existing(snapshot.name)
            parent = self._parent(snapshot.parent) if snapshot.parent is not None else None
            content = self._new_dir()
            if parent:
                _copy(parent.dir, content)
            self._held[snapshot.name] = _Held(snapshot, content)

    def _new_dir(self) -> Path:
        self._number += 1
        content = self._dir / str(self._number)
        content.mkdir(parents=True)
        return content

    def _get(self, name: str) -> _Held:
        if name not in self._held:
            raise NotFound(f"snapshot {name} does not exist")
        return self._held[name]

    def _parent(self, name: str) -> _Held:
        parent = self._get(name)
        if parent.snapshot.kind is not SnapshotKind.COMMITTED:
            raise InvalidArgument(f"parent snapshot {name} is not committed")
        return parent

    def _refuse_existing(self, name: str) -> None:
        if name in self._held:
            raise Conflict(f"snapshot {name} already exists")

    def _refuse_attached(self, snapshot: Snapshot) -> None:
        if not self._detached or snapshot.parent is not None or snapshot.kind is not SnapshotKind.ACTIVE:
            raise InvalidArgument(f"snapshot {snapshot.name} is not a detached layer")

    def _laid_over(self, parent: _Held, layer: Path) -> Path:
        merged = self._new_dir()
        _copy(parent.dir, merged)
        _apply(layer, merged)
        shutil.rmtree(layer)
        return merged


def _copy(source: Path, target: Path) -> None:
    """Copy a tree with owners, modes, times, xattrs, hard links and special files, which takes cp(1)."""
    subprocess.run(["cp", "-a", "--", f"{source}/.", str(target)], check=True, capture_output=True)


def _apply(layer: Path, target: Path) -> None:
    """Apply a layer in overlay format to a directory, moving its files, so that hard links are preserved."""
    for entry in os.scandir(layer):
        path = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            if _OPAQUE in os.listxattr(entry.path, follow_symlinks=False) or not _is_dir(path):
                _discard(path)
                path.mkdir()
            _apply(Path(entry.path), path)
        elif _is_whiteout(entry.stat(follow_symlinks=False)):
            _discard(path)
        else:
            _discard(path)
            Path(entry.path).rename(path)
    _copy_attributes(layer, target)


def _changes(now: Path, before: Path | None, path: str) -> Iterator[Change]:
    """How the directory `now` differs from `before`; a directory in which something differs counts as modified."""
    old = {entry.name for entry in before.iterdir()} if before else set()
    for name in sorted({entry.name for entry in now.iterdir()} | old):
        new, below = now / name, before / name if before and name in old else None
        if not os.path.lexists(new):
            yield Change(f"{path}/{name}", ChangeKind.DELETED)
            continue
        inside = (
            list(_changes(new, below if below and _is_dir(below) else None, f"{path}/{name}")) if _is_dir(new) else []
        )
        if below is None:
            yield Change(f"{path}/{name}", ChangeKind.ADDED)
        elif inside or _looks(new) != _looks(below):
            yield Change(f"{path}/{name}", ChangeKind.MODIFIED)
        yield from inside


def _looks(path: Path) -> tuple[object, ...]:
    """All attributes and content of a file, except for a directory's time."""
    status = path.lstat()
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    looks = (status.st_mode, status.st_uid, status.st_gid, status.st_rdev, xattrs)
    if _is_dir(path):
        return looks
    content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
    target = path.readlink() if path.is_symlink() else None
    return (*looks, status.st_mtime_ns, content, target)


def _copy_attributes(source: Path, target: Path) -> None:
    """Copy the owner, mode, times and xattrs of one directory."""
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


def _is_dir(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _discard(path: Path) -> None:
    if _is_dir(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
