"""The layers in the store or being created: each is created once, however many ask for it."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from sampan.digest import Digest, chain_ids
from sampan.errdefs import InvalidArgument, NotFound
from sampan.images.ahead import Ahead
from sampan.images.flight import Flight, all_landed
from sampan.images.layer_maker import Layer, LayerMaker, Wanted, lowest_first
from sampan.images.leases import Lease
from sampan.images.progress import Report, step
from sampan.tasks import end

DEPTH_MAX = 125
"""The maximum number of layers in a stack, as in moby (daemon/internal/layer/layer_store.go, maxLayerDepth)."""


class Layers:
    """All layers by chain ID. Whoever creates layers holds a lease, so that nothing is removed in the meantime."""

    def __init__(self, maker: LayerMaker, save: Callable[[Layer], Awaitable[None]]) -> None:
        """`save` records a layer that has another blob now."""
        self._maker = maker
        self._save = save
        self._layers: dict[Digest, Layer] = {}
        self._flights: dict[Digest, Flight[Layer]] = {}

    def get(self, chain_id: Digest) -> Layer:
        """The layer. Raises `NotFound`."""
        try:
            return self._layers[chain_id]
        except KeyError:
            raise NotFound(f"layer {chain_id} is not here") from None

    def is_writing(self, key: str) -> bool:
        """Whether the snapshot of this key is being worked on."""
        return self._maker.is_writing(key)

    def list(self) -> builtins.list[Layer]:
        """All layers, children before their parents."""
        return lowest_first(self._layers.values())[::-1]

    def is_made_of(self, blob: Digest) -> bool:
        """Whether there is a layer with this blob, or this tar."""
        return any(blob in (layer.blob, layer.diff_id) for layer in self._layers.values())

    def made_again(self, layer: Layer) -> AbstractAsyncContextManager[tuple[Path, Path]]:
        """Mount the layer's actual and expected content: see `LayerMaker.made_again`."""
        return self._maker.made_again(layer)

    def ahead(self, at_most: int) -> Ahead:
        """For unpacking layers before it is known what they belong to: as many as an image may have."""
        return self._maker.ahead(at_most)

    def adopt(self, layers: Iterable[Layer]) -> None:
        """Add layers whose snapshots exist."""
        self._layers.update((layer.chain_id, layer) for layer in layers)

    def forget(self, chain_id: Digest) -> None:
        """Forget a layer whose snapshot is gone."""
        self._layers.pop(chain_id, None)

    async def make(self, stack: Sequence[Wanted], lease: Lease, report: Report) -> builtins.list[Layer]:
        """Create all layers of an image, lowest first, in parallel; existing ones are not touched.

        Raises `InvalidArgument` if they are too many, and the errors of downloading and unpacking. Layers completed
        before an error stay until garbage is collected.
        """
        _check_depth(len(stack))
        chain = chain_ids([wanted.diff_id for wanted in stack])
        await lease.add(*chain, *(wanted.blob for wanted in stack))
        joined: list[Flight[Layer]] = []
        try:
            for chain_id, wanted in zip(chain, stack, strict=True):
                joined.append(self._join(chain_id, wanted, joined[-1] if joined else None, report))
            return await all_landed(joined)
        finally:
            await _leave(joined, report)

    async def add(self, source: AsyncIterator[bytes], lease: Lease, parent: Layer | None = None) -> Layer:
        """Create a layer on top of `parent` from a tar about which nothing is known in advance.

        Raises `InvalidArgument` if there are too many layers below, and the errors of unpacking.
        """
        _check_depth(self._depth(parent) + 1)
        async with self._maker.unpacked(source, parent) as new:
            await lease.add(new.chain_id, new.blob)
            while other := self._flights.get(new.chain_id):
                await asyncio.wait([other.task])
            if layer := self._layers.get(new.chain_id):
                return layer
            flight: Flight[Layer] = Flight()
            self._start(new.chain_id, flight, new.commit)
            try:
                return await flight.landing()
            finally:
                await end(flight.task)

    def _join(self, chain_id: Digest, wanted: Wanted, below: Flight[Layer] | None, report: Report) -> Flight[Layer]:
        layer = self._layers.get(chain_id)
        if layer and self._maker.is_whole(layer):
            report(step(wanted.id, "Already exists"))
            return Flight.landed(layer)
        flight = self._flights.get(chain_id)
        if flight is None or flight.task.done():
            flight = Flight()
            flight.report(step(wanted.id, "Pulling fs layer"))
            if layer:
                self._start(chain_id, flight, partial(self._fetch_again, layer, wanted, flight.report))
            else:
                parent = below.landing if below else _no_parent
                self._start(chain_id, flight, partial(self._maker.make, chain_id, wanted, parent, flight.report))
        flight.watch(report)
        return flight

    async def _fetch_again(self, layer: Layer, wanted: Wanted, report: Report) -> Layer:
        layer = await self._maker.fetch_again(layer, wanted, report)
        await self._save(layer)
        return layer

    def _start(self, chain_id: Digest, flight: Flight[Layer], make: Callable[[], Awaitable[Layer]]) -> None:
        async def land() -> Layer:
            self._layers[chain_id] = layer = await make()
            return layer

        def forget(_: asyncio.Future[Layer]) -> None:
            if self._flights.get(chain_id) is flight:
                del self._flights[chain_id]

        self._flights[chain_id] = flight
        flight.start(land())
        flight.task.add_done_callback(forget)

    def _depth(self, layer: Layer | None) -> int:
        depth = 0
        while layer is not None:
            depth += 1
            layer = self._layers[layer.parent] if layer.parent else None
        return depth


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise InvalidArgument("max depth exceeded")


async def _leave(joined: Sequence[Flight[Layer]], report: Report) -> None:
    """Stop watching; work that nobody watches any more has ended when this returns."""
    for flight in joined:
        flight.unwatch(report)
    await end(*(flight.task for flight in joined if not flight.is_watched))


async def _no_parent() -> None:
    return None
