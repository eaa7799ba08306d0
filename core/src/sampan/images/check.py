"""Finds what is wrong in the store: reads everything and changes nothing.

Pulls, removals and containers may run at the same time. What they are working on is not a problem: files and
snapshots being written are known, and what has disappeared since it was listed is checked again.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from sampan.digest import Digest, chain_id_on
from sampan.drivers import Change, ChangeKind, IntegrityCheckDriver, Snapshot, SnapshotKind
from sampan.errdefs import DataLoss, NotFound
from sampan.images.examine import digest_of, examine
from sampan.images.garbage import is_ours, layer_name
from sampan.images.init_snapshot import SCRATCH
from sampan.images.layer.tar import shown
from sampan.images.layer_maker import KEY_PREFIX, Layer
from sampan.images.parts import StoreParts
from sampan.storage.copy_changes import CopiedTree
from sampan.tasks import in_thread

Owned = Callable[[Snapshot], bool]
"""Whether a snapshot belongs to a container that exists or is being created."""


_VERBS = {ChangeKind.MODIFIED: "changed", ChangeKind.ADDED: "added", ChangeKind.DELETED: "removed"}
_NO_CHANGE = Change("", ChangeKind.MODIFIED)


class Fault(enum.StrEnum):
    """What is wrong; clients see these values."""

    CORRUPT_BLOB = "corrupt blob"
    MISSING_BLOB = "missing blob"
    WRONG_LAYER = "wrong layer"
    LOST_SNAPSHOT = "lost snapshot"
    CHANGED_SNAPSHOT = "changed snapshot"
    STRAY_FILE = "stray file"
    STRAY_SNAPSHOT = "stray snapshot"
    BAD_ROW = "bad row"
    LOST_CONTAINER = "lost container"


@dataclass(frozen=True)
class Problem:
    """One problem: the meaning of `name` depends on the fault; `detail` is for people."""

    fault: Fault
    name: str
    detail: str


class Checker:
    """Checks one store."""

    def __init__(self, parts: StoreParts) -> None:
        self._storage = parts.storage
        self._content = parts.content
        self._layers = parts.layers
        self._index = parts.index
        self._leases = parts.leases
        self._garbage = parts.garbage

    async def find(self, owned: Owned, is_writing: Callable[[str], bool], *, files: bool = False) -> list[Problem]:
        """All problems; with `files`, also those of single files, for which each layer is unpacked again.

        `is_writing` says whether the snapshot of a key is in use by an operation. Raises `SystemFailure`.
        """
        found = [*await self._blobs(), *await self._snapshots_of_layers()]
        if files:
            found += await self._changed_snapshots({problem.name for problem in found})
        return [
            *found,
            *await in_thread(self._stray_files),
            *await self._stray_snapshots(owned, is_writing),
            *await in_thread(self._bad_rows),
        ]

    async def _blobs(self) -> list[Problem]:
        """Check every blob's digest, and for layers also the diff ID, which is that of the tar in it."""
        diff_ids = {layer.blob: layer.diff_id for layer in self._layers.list()}
        found = []
        for digest in {*self._garbage.needed_blobs(), *self._content}:
            problem = await in_thread(self._blob, digest, diff_ids.get(digest))
            if problem and (digest in self._content or digest in self._garbage.needed_blobs()):
                found.append(problem)
        return sorted(found, key=lambda problem: problem.name)

    def _blob(self, digest: Digest, diff_id: Digest | None) -> Problem | None:
        path = self._content.path(digest)
        try:
            if diff_id is None:
                real, unpacked = digest_of(path, digest.algorithm), None
            else:
                examined = examine(path, digest.algorithm)
                real, unpacked = examined.digest, examined.diff_id
        except FileNotFoundError:
            return Problem(Fault.MISSING_BLOB, digest, "its file is gone")
        except OSError as error:
            return Problem(Fault.CORRUPT_BLOB, digest, f"it can't be read: {error.strerror}")
        if real != digest:
            return Problem(Fault.CORRUPT_BLOB, digest, f"its content has the digest {real}")
        if unpacked != diff_id:
            return Problem(Fault.WRONG_LAYER, digest, f"it unpacks to {unpacked or 'nothing'}, not to {diff_id}")
        return None

    async def _snapshots_of_layers(self) -> list[Problem]:
        found = []
        for layer in reversed(self._layers.list()):
            detail = self._chain(layer) or await in_thread(self._snapshot, layer)
            if detail and layer in self._layers.list():
                found.append(Problem(Fault.LOST_SNAPSHOT, layer.chain_id, detail))
        return found

    def _chain(self, layer: Layer) -> str | None:
        if chain_id_on(layer.parent, layer.diff_id) != layer.chain_id:
            return f"it is not {layer.diff_id} on {layer.parent or 'nothing'}"
        return None

    def _snapshot(self, layer: Layer) -> str | None:
        try:
            snapshot = self._storage.stat(layer.chain_id)
            if isinstance(self._storage, IntegrityCheckDriver):
                self._storage.check(layer.chain_id)
        except (NotFound, DataLoss) as error:
            return str(error)
        if snapshot.kind is not SnapshotKind.COMMITTED:
            return f"it is {snapshot.kind}, not committed"
        if snapshot.parent != layer.parent:
            return f"it stands on {snapshot.parent or 'nothing'}, not on {layer.parent or 'nothing'}"
        return None

    async def _changed_snapshots(self, broken: set[str]) -> list[Problem]:
        """Layers whose files differ from those in their blobs. Anything on top of a `broken` layer is skipped."""
        found = []
        async with self._leases.lease() as lease:
            for layer in reversed(self._layers.list()):
                await lease.add(layer.chain_id, layer.blob)
                if layer.parent in broken:
                    broken.add(layer.chain_id)
                if layer not in self._layers.list() or broken.intersection((layer.chain_id, layer.blob)):
                    continue
                async with self._layers.made_again(layer) as (kept, made):
                    detail = await in_thread(_difference, kept, made)
                if detail:
                    found.append(Problem(Fault.CHANGED_SNAPSHOT, layer.chain_id, detail))
        return found

    def _stray_files(self) -> list[Problem]:
        return [
            Problem(Fault.STRAY_FILE, str(path), "it is no blob, and nobody is writing it")
            for path in sorted(self._content.strays())
        ]

    async def _stray_snapshots(self, owned: Owned, is_writing: Callable[[str], bool]) -> list[Problem]:
        """Children before their parents.

        Owners are determined after listing: what was listed has an owner by now, is gone, or has none.
        """
        listed = await in_thread(lambda: list(self._storage.list()))
        known = {layer.chain_id for layer in self._layers.list()}
        strays = [
            one for one in listed if not (owned(one) or is_writing(one.name) or self._is_layer(one.name, known))
        ]
        there = await in_thread(lambda: {snapshot.name for snapshot in self._storage.list()})
        return [
            Problem(Fault.STRAY_SNAPSHOT, one.name, f"it is {one.kind}, and belongs to no image and no container")
            for one in sorted(strays, key=lambda one: -_depth(one, listed))
            if one.name in there
        ]

    def _is_layer(self, name: str, known: set[Digest]) -> bool:
        if name.startswith(KEY_PREFIX) or not is_ours(name):
            return False
        layer = layer_name(name)
        return layer in known or layer == SCRATCH or layer in self._leases

    def _bad_rows(self) -> list[Problem]:
        return [
            Problem(Fault.BAD_ROW, f"{row.table} {row.key}", "the row of the database makes no sense")
            for row in self._index.senseless()
        ]


def _difference(kept: Path, made: Path) -> str | None:
    """The first file that differs in the tree `kept` from `made`, as a message."""
    changes = list(CopiedTree(kept, made, copied_at_ns=0).changes())
    if not changes:
        return None
    # A directory comes before differences in it, which say more.
    first = next(one for one, after in pairwise([*changes, _NO_CHANGE]) if not after.path.startswith(one.path + "/"))
    path = shown(os.fsencode(first.path))
    return f"{path} was {_VERBS[first.kind]}; {len(changes)} files and directories differ from its blob's"


def _depth(snapshot: Snapshot, listed: Sequence[Snapshot]) -> int:
    parents = {one.name: one.parent for one in listed}
    depth, at = 0, snapshot.parent
    while at:
        depth, at = depth + 1, parents.get(at)
    return depth
