"""Repairs what a check has found, as far as that is possible without losing anything intact."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import Conflict, DataLoss, NotFound, SampanError
from sampan.images.check import Fault, Problem
from sampan.images.image import Image
from sampan.images.index import NewImage
from sampan.images.init_snapshot import init_name
from sampan.images.layer_maker import Layer, Wanted
from sampan.images.layers import Layers
from sampan.images.leases import Lease
from sampan.images.parts import StoreParts
from sampan.images.progress import Report, short
from sampan.images.reference import Reference
from sampan.images.rows import RowName
from sampan.tasks import in_thread

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mended:
    """What was done about a problem or, if it persists, has to be done by somebody."""

    problem: Problem
    action: str
    is_mended: bool


class Mender:
    """Repairs one store."""

    def __init__(self, parts: StoreParts) -> None:
        self._storage = parts.storage
        self._content = parts.content
        self._layers = parts.layers
        self._index = parts.index
        self._leases = parts.leases
        self._garbage = parts.garbage

    async def mend(self, problems: Sequence[Problem]) -> list[Mended]:
        """Repair what can be repaired, blobs before the snapshots created from them. Each repair is logged."""
        done = [await self._mend_one(problem) for problem in problems if problem.fault in _ONE_BY_ONE]
        lost = [problem for problem in problems if problem.fault in _BY_TREES]
        if lost:
            done += await self._mend_layers(lost)
        for one in done:
            _log.warning("%s %s: %s: %s", one.problem.fault, one.problem.name, one.problem.detail, one.action)
        return done

    async def _mend_one(self, problem: Problem) -> Mended:
        match problem.fault:
            case Fault.CORRUPT_BLOB:
                async with self._leases.lock:
                    await in_thread(self._content.throw_away, Digest(problem.name))
                return self._missing(problem, "removed")
            case Fault.MISSING_BLOB:
                async with self._leases.lock:
                    await in_thread(self._content.remove, Digest(problem.name))  # so that it is no longer listed
                return self._missing(problem, "noted")
            case Fault.STRAY_FILE:
                gone = await in_thread(self._content.remove_stray, Path(problem.name))
                return Mended(problem, "removed" if gone else "in use by now", is_mended=True)
            case Fault.STRAY_SNAPSHOT:
                return await in_thread(self._remove_snapshot, problem)
            case _:
                table, _, key = problem.name.partition(" ")
                await self._index.drop_senseless([RowName(table, key)])
                return Mended(problem, "removed", is_mended=True)

    def _missing(self, problem: Problem, action: str) -> Mended:
        users = [image for image in self._index.list() if problem.name in self._blobs(image)]
        if not users:
            return Mended(problem, action, is_mended=True)
        names = ", ".join(_name(image) for image in users)
        return Mended(problem, f"{action}; pull or load {names} again to get it back", is_mended=False)

    def _blobs(self, image: Image) -> set[Digest]:
        return {image.id, *image.documents, *(self._layers.get(chain_id).blob for chain_id in image.layers)}

    def _remove_snapshot(self, problem: Problem) -> Mended:
        try:
            self._storage.remove(problem.name)
        except NotFound:
            pass
        except Conflict:
            return Mended(problem, "something stands on it: repair again", is_mended=False)
        return Mended(problem, "removed", is_mended=True)

    async def _mend_layers(self, problems: Sequence[Problem]) -> list[Mended]:
        """Remove lost layers with everything on top, and create them again from their blobs.

        An image that can't be created again is removed, as on a start of the daemon; a pull brings it back. Nothing
        below a container is touched, as its own files would be lost too.
        """
        trees: dict[Digest, list[Problem]] = {}
        for problem, root in _roots(problems, self._layers.list()):
            trees.setdefault(root, []).append(problem)
        done = []
        for root, named in trees.items():
            action, is_mended = await self._mend_tree(root)
            done += [Mended(problem, action, is_mended) for problem in named]
        return done

    async def _mend_tree(self, root: Digest) -> tuple[str, bool]:
        """Repair a lost layer and everything on top of it: returns what was done, and whether that helped."""
        tree = [layer for layer in self._layers.list() if _stands_on(layer, root, self._layers)]
        inside = {layer.chain_id for layer in tree}
        images = [image for image in self._index.list() if inside.intersection(image.layers)]
        stacks = {image.id: [self._layers.get(chain_id) for chain_id in image.layers] for image in images}
        names = {image.id: self._index.names_of(image) for image in images}
        async with self._leases.lease() as lease:
            for image in images:
                await lease.add(*self._blobs(image))
            async with self._leases.lock:
                if users := await in_thread(self._containers_on, inside):
                    named = ", ".join(one[:12] for one in users)
                    return f"containers stand on it: remove {named}, and repair again", False
                for image in images:  # first, so that nobody sees an image without its layers
                    await self._index.remove(image)
                are_gone = [await self._garbage.remove_layer(layer) for layer in tree]
            actions = [await self._make_again(image, stacks[image.id], names[image.id], lease) for image in images]
        if not all(are_gone):
            return "something stands on it by now: repair again", False
        return "; ".join(actions) or "removed", True

    def _containers_on(self, layers: AbstractSet[str]) -> list[str]:
        below = {*layers, *(init_name(layer) for layer in layers)}
        return sorted(one.name for one in self._storage.list() if one.parent in below and one.name not in below)

    async def _make_again(
        self, image: Image, stack: Sequence[Layer], names: Sequence[Reference], lease: Lease
    ) -> str:
        try:
            layers = await self._layers.make([_wanted(layer) for layer in stack], lease, _silent)
        except SampanError as error:
            return f"removed {_name(image)}, pull or load it again: {error}"
        await self._index.add(NewImage(image.id, image.config, tuple(layers), image.documents), names)
        return f"made the files of {_name(image)} again"


_ONE_BY_ONE = frozenset(
    {Fault.CORRUPT_BLOB, Fault.MISSING_BLOB, Fault.STRAY_FILE, Fault.STRAY_SNAPSHOT, Fault.BAD_ROW}
)

_BY_TREES = frozenset({Fault.LOST_SNAPSHOT, Fault.CHANGED_SNAPSHOT, Fault.WRONG_LAYER})


def _roots(problems: Sequence[Problem], layers: Sequence[Layer]) -> Iterator[tuple[Problem, Digest]]:
    """The lowest lost layer below each problem's layer: these have to be removed together.

    `layers` has children first.
    """
    by_chain = {layer.chain_id: layer for layer in layers}
    named = {problem.name: problem for problem in problems}
    for layer in layers:
        problem = named.get(layer.chain_id) or named.get(layer.blob)
        if problem is None:
            continue
        root, at = layer.chain_id, layer.parent
        while at and (below := by_chain.get(at)):
            if below.chain_id in named or below.blob in named:
                root = below.chain_id
            at = below.parent
        yield problem, root


def _stands_on(layer: Layer, root: Digest, layers: Layers) -> bool:
    at: Layer | None = layer
    while at and at.chain_id != root:
        at = layers.get(at.parent) if at.parent else None
    return at is not None


def _wanted(layer: Layer) -> Wanted:
    async def lost(_: Report, __: int) -> AsyncIterator[bytes]:
        raise DataLoss(f"its blob {layer.blob} is not here")
        yield b""

    return Wanted(short(layer.blob), layer.diff_id, layer.blob, layer.blob_bytes, lost, layer.media_type)


def _name(image: Image) -> str:
    return next(iter((*image.references, *image.repo_digests)), short(image.id))


def _silent(item: dict[str, Any]) -> None:
    pass
