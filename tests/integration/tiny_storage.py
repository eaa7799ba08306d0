"""A storage driver in a few dozen lines: every snapshot is a full copy in a plain directory.

A directory's name is its only metadata (kind and name), so every change is one rename. A test packages this file
as its own distribution, sampan-tiny.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from sampan.drivers import (
    Change,
    Mount,
    Snapshot,
    SnapshotKind,
    StorageCapabilities,
    StorageFactory,
    Usage,
    hookimpl,
)
from sampan.errdefs import Conflict, InvalidArgument, NotFound, Unsupported


class TinyDriver:
    """A `StorageDriver` using plain directories."""

    capabilities = StorageCapabilities()

    def __init__(self, state_dir: Path) -> None:
        self._dir = state_dir
        self._lock = threading.RLock()
        for unfinished in state_dir.glob(".new-*"):
            shutil.rmtree(unfinished)

    def probe(self) -> str | None:
        return None

    def prepare(
        self, key: str, parent: str | None, *, labels: dict[str, str] | None = None, size_bytes: int | None = None
    ) -> list[Mount]:
        if size_bytes is not None:
            raise Unsupported("the tiny storage driver has no quota")
        self._create(Snapshot(key, SnapshotKind.ACTIVE, parent, labels or {}))
        return self.mounts(key)

    def view(self, key: str, parent: str) -> list[Mount]:
        self._create(Snapshot(key, SnapshotKind.VIEW, parent))
        return self.mounts(key)

    def mounts(self, key: str) -> list[Mount]:
        snapshot = self.stat(key)
        if snapshot.kind is SnapshotKind.COMMITTED:
            raise InvalidArgument(f"snapshot {key} is committed")
        access = "ro" if snapshot.kind is SnapshotKind.VIEW else "rw"
        return [Mount("bind", str(self._path(snapshot.kind, key) / "fs"), ("bind", access))]

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        with self._lock:
            if self.stat(key).kind is not SnapshotKind.ACTIVE or parent is not None:
                raise InvalidArgument(f"snapshot {key} is not active, or can't get a parent now")
            if self._exists(name):
                raise Conflict(f"snapshot {name} already exists")
            self._path(SnapshotKind.ACTIVE, key).rename(self._path(SnapshotKind.COMMITTED, name))

    def detached_dir(self, key: str) -> Path:
        raise Unsupported("the tiny storage driver has no detached layers")

    def remove(self, name: str) -> None:
        with self._lock:
            snapshot = self.stat(name)
            if any(other.parent == name for other in self.list()):
                raise Conflict(f"snapshot {name} has children")
            doomed = tempfile.mkdtemp(prefix=".new-", dir=self._dir)
            self._path(snapshot.kind, name).rename(Path(doomed, "snapshot"))
        shutil.rmtree(doomed)

    def stat(self, name: str) -> Snapshot:
        for kind in SnapshotKind:
            if (path := self._path(kind, name)).is_dir():
                parent, labels = json.loads((path / "meta").read_text())
                return Snapshot(name, kind, parent, labels)
        raise NotFound(f"snapshot {name} does not exist")

    def usage(self, name: str) -> Usage:
        root = self._path(self.stat(name).kind, name) / "fs"
        paths = [root, *root.rglob("*")]
        sizes = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in paths}
        return Usage(sum(sizes.values()), len(sizes))

    def changes(self, key: str) -> Iterator[Change]:
        raise Unsupported("the tiny storage driver does not tell changes")

    def status(self) -> list[tuple[str, str]]:
        return [("Kept in", str(self._dir))]

    def list(self) -> Iterator[Snapshot]:
        with self._lock:
            names = [unquote(path.name.partition("-")[2]) for path in self._dir.glob("[!.]*")]
            return iter([self.stat(name) for name in names])

    def _create(self, snapshot: Snapshot) -> None:
        with self._lock:
            if self._exists(snapshot.name):
                raise Conflict(f"snapshot {snapshot.name} already exists")
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._dir))
            try:
                self._fill(new, snapshot)
                new.rename(self._path(snapshot.kind, snapshot.name))
            except BaseException:
                shutil.rmtree(new)
                raise

    def _fill(self, new: Path, snapshot: Snapshot) -> None:
        (new / "meta").write_text(json.dumps([snapshot.parent, snapshot.labels]))
        (new / "fs").mkdir(mode=0o755)
        if snapshot.parent is not None:
            if self.stat(snapshot.parent).kind is not SnapshotKind.COMMITTED:
                raise InvalidArgument(f"parent snapshot {snapshot.parent} is not committed")
            source = self._path(SnapshotKind.COMMITTED, snapshot.parent) / "fs"
            subprocess.run(["cp", "-a", f"{source}/.", str(new / "fs")], check=True)

    def _exists(self, name: str) -> bool:
        return any(self._path(kind, name).is_dir() for kind in SnapshotKind)

    def _path(self, kind: SnapshotKind, name: str) -> Path:
        return self._dir / f"{kind}-{quote(name, safe='')}"


@hookimpl
def sampan_storage_driver() -> tuple[str, StorageFactory]:
    return "tiny", TinyDriver
