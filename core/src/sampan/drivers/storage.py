"""The interface of storage drivers: a tree of filesystem snapshots.

Terms. A *snapshot* is a directory tree that the driver keeps. It is *active* (can be written, and is identified by a
*key*) or *committed* (can't be written, and is identified by a *name*). Keys and names share one namespace. Only
committed snapshots may be parents. A *view* is an active snapshot that can only be read.

Unpacking an image's layer: `prepare(key, parent)`, mount what it returns, write the layer's files, unmount,
`commit(name, key)`. With the capability `detached_layers` the core does this in parallel: `prepare(key, None)` for
all layers at once, writes each into `detached_dir(key)` in the driver's own on-disk format for layers, and then
commits them in order, each with its parent.

Running a container: `prepare(container_id, parent=top_layer)`, mount `mounts(container_id)` on the rootfs, run,
unmount, `remove(container_id)`.

After containerd's snapshotter (containerd core/snapshots/snapshotter.go).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable


@dataclass(frozen=True)
class Mount:
    """The arguments of one mount call, except the mount point. The core does the mounting.

    `options` are those of mount(8); the `type` `bind` means a bind mount of `source`.
    """

    type: str
    source: str
    options: tuple[str, ...] = ()


class SnapshotKind(enum.StrEnum):
    """What can be done with a snapshot."""

    ACTIVE = "active"
    VIEW = "view"
    COMMITTED = "committed"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, as `stat` and `list` return it."""

    name: str
    kind: SnapshotKind
    parent: str | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """The disk usage of a snapshot itself, without its parents."""

    size_bytes: int
    inodes: int


class ChangeKind(enum.IntEnum):
    """How a path differs from the parent's. The numbers are those of Docker's `GET /containers/{id}/changes`."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True)
class Change:
    """A path, absolute within the snapshot, that differs from the parent's."""

    path: str
    kind: ChangeKind


class LayerFormat(enum.StrEnum):
    """The format of a layer in `detached_dir`."""

    OVERLAY = "overlay"
    """Whiteouts are 0/0 character devices, opaque directories carry `trusted.overlay.opaque=y`."""


@dataclass(frozen=True)
class StorageCapabilities:
    """What a storage driver can do beyond the interface's minimum."""

    detached_layers: LayerFormat | None = None
    quota: bool = False
    changes: bool = False


class StorageDriver(Protocol):
    """Keeps a tree of snapshots.

    Synchronous: the core calls it in worker threads, from several at once. Every method is atomic: if the daemon is
    killed at any moment, the call has either happened or not. What is left half done is not listed, and the next
    driver that is instantiated removes it.
    """

    @property
    def capabilities(self) -> StorageCapabilities:
        """What this driver can do on this host."""

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def prepare(
        self,
        key: str,
        parent: str | None,
        *,
        labels: dict[str, str] | None = None,
        size_bytes: int | None = None,
    ) -> list[Mount]:
        """Create the active snapshot `key` on top of `parent` and say how to mount it.

        Raises `NotFound` if `parent` does not exist, `InvalidArgument` if it is not committed, `Conflict` if `key`
        exists, `Unsupported` if `size_bytes` is given and the driver has no quota here.
        """

    def view(self, key: str, parent: str) -> list[Mount]:
        """Create the read-only snapshot `key` of `parent` and say how to mount it. Raises as `prepare` does."""

    def mounts(self, key: str) -> list[Mount]:
        """How to mount the active snapshot or view `key`. Raises `NotFound`, or `InvalidArgument` if committed."""

    def commit(self, name: str, key: str, *, parent: str | None = None) -> None:
        """Turn the active snapshot `key` into the committed snapshot `name`; `key` is then free again.

        `parent` is for a snapshot prepared without a parent on a driver with `detached_layers`: it is put on top
        of `parent` when it is committed. Raises `NotFound`, `Conflict` if `name` exists, `InvalidArgument` if `key`
        is not active or `parent` is not committed.
        """

    def detached_dir(self, key: str) -> Path:
        """Where the core writes the layer `key`, prepared without a parent, in the format named in `capabilities`.

        Raises `Unsupported` on a driver without `detached_layers`.
        """

    def remove(self, name: str) -> None:
        """Remove a snapshot of any kind. Raises `NotFound`, or `Conflict` if it has children."""

    def stat(self, name: str) -> Snapshot:
        """Describe the snapshot. Raises `NotFound`."""

    def usage(self, name: str) -> Usage:
        """The disk usage of the snapshot. Raises `NotFound`."""

    def changes(self, key: str) -> Iterator[Change]:
        """How the active snapshot `key` differs from its parent. Raises `Unsupported` without the capability."""

    def status(self) -> list[tuple[str, str]]:
        """Names and values for the driver status in `docker info`, such as the backing file system."""

    def list(self) -> Iterator[Snapshot]:
        """All snapshots, in no order."""


@runtime_checkable
class IntegrityCheckDriver(Protocol):
    """An optional interface: the driver can check the integrity of a snapshot."""

    def check(self, name: str) -> None:
        """Check the snapshot's own files, not its parents'. Raises `NotFound`, or `DataLoss` naming what is missing.

        It changes nothing.
        """


StorageFactory: TypeAlias = Callable[[Path], StorageDriver]
"""Creates a storage driver on its state directory, which exists. Does not touch the host before `probe`."""
