"""The index of images: in memory for reading, with every change written to SQLite."""

from __future__ import annotations

import asyncio
import builtins
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sampan.digest import Digest
from sampan.errdefs import NotFound, SampanError
from sampan.images import rows
from sampan.images.image import Image
from sampan.images.layer_maker import Layer, lowest_first
from sampan.images.reference import Reference, parse_id
from sampan.state import Database
from sampan.tasks import settled

_log = logging.getLogger(__name__)
_ID_PREFIX = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_SENSELESS = (ValueError, KeyError, TypeError, SampanError)
RowT = TypeVar("RowT")
ThingT = TypeVar("ThingT")


@dataclass(frozen=True)
class NewImage:
    """An image to be added to the index, whose content is complete."""

    id: Digest
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    documents: tuple[Digest, ...] = ()


class ImageIndex:
    """All images, by ID and by name. Changes are made one at a time, and atomically."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changing = asyncio.Lock()
        self._images: dict[Digest, Image] = {}
        self._names: dict[str, Digest] = {}
        self._lost_images: builtins.list[Digest] = []
        self._lost_layers: builtins.list[Digest] = []

    def load(self, snapshots: AbstractSet[str]) -> builtins.list[Layer]:
        """Read the database, and return those of its layers that are in `snapshots`.

        Invalid rows are logged and left out; so are images that lost a layer, until `drop_lost` removes them.
        """
        found = self._database.read(rows.select)
        layers = {layer.chain_id: layer for row in found.layers if (layer := _sound(rows.layer_of, row))}
        here = {layer.chain_id for layer in lowest_first(_there(layers.values(), snapshots))}
        for row in found.images:
            image = _sound(rows.image_of, row)
            if image and (lost := [chain_id for chain_id in image.layers if chain_id not in here]):
                _log.error("image %s is left out: its layer %s is lost", image.id, lost[0])
                self._lost_images.append(image.id)
            elif image:
                self._images[image.id] = image
        for text, id in found.references:
            name = _sound(Reference.parse, text)
            if name and id in self._images:
                self._name(name, Digest(id))
        self._lost_layers = [chain_id for chain_id in layers if chain_id not in here]
        return [layers[chain_id] for chain_id in here]

    def senseless(self) -> builtins.list[rows.RowName]:
        """The invalid rows of the database, which `load` leaves out. Blocks."""
        found = self._database.read(rows.select)
        return [
            *(rows.RowName("images", row[0]) for row in found.images if not _makes_sense(rows.image_of, row)),
            *(rows.RowName("layers", row[0]) for row in found.layers if not _makes_sense(rows.layer_of, row)),
            *(
                rows.RowName("image_references", text)
                for text, _ in found.references
                if not _makes_sense(Reference.parse, text)
            ),
        ]

    async def drop_senseless(self, names: Iterable[rows.RowName]) -> None:
        """Delete invalid rows."""

        def change(connection: sqlite3.Connection) -> None:
            for name in names:
                rows.delete(connection, name)

        await self._database.write(change)

    async def drop_lost(self) -> None:
        """Delete from the database what `load` found to be lost."""
        images, layers = self._lost_images, self._lost_layers

        def change(connection: sqlite3.Connection) -> None:
            for id in images:
                rows.delete(connection, rows.RowName("images", id))
            _delete_layers(connection, layers)

        if images or layers:
            await self._database.write(change)

    def get(self, name: str) -> Image:
        """The image that `name` (a reference, an ID, or the beginning of one) refers to.

        Raises `NotFound`, `InvalidArgument` with Docker's message.
        """
        id = parse_id(name)
        if id is not None:
            if id in self._images:
                return self._images[id]
            raise NotFound(f"No such image: {id}")
        reference = Reference.parse(name)
        found = self.find(reference) or self._find_by_prefix(name)
        if found is None:
            raise NotFound(f"No such image: {reference.tagged().familiar}")
        return found

    def find(self, reference: Reference) -> Image | None:
        """The image with exactly this name (`latest` if it has neither tag nor digest)."""
        id = self._names.get(_key(reference))
        return self._images[id] if id else None

    def find_by_id(self, id: Digest) -> Image | None:
        """The image with this ID."""
        return self._images.get(id)

    def list(self) -> builtins.list[Image]:
        """All images."""
        return list(self._images.values())

    def names_of(self, image: Image) -> builtins.list[Reference]:
        """All names of an image, tags first."""
        names = [Reference.parse(text) for text, id in self._names.items() if id == image.id]
        return sorted(names, key=lambda name: (name.digest is not None, str(name)))

    def tags(self, repository: str) -> builtins.list[Reference]:
        """All tags of a repository (`docker.io/library/alpine`) in the store."""
        names = (Reference.parse(text) for text in self._names if text.startswith(f"{repository}:"))
        return sorted((name for name in names if name.name == repository and not name.digest), key=str)

    def layer_users(self) -> Counter[Digest]:
        """The number of images that have each layer, by chain ID."""
        return Counter(chain_id for image in self._images.values() for chain_id in image.layers)

    async def add(self, new: NewImage, names: Sequence[Reference]) -> Image:
        """Add an image with `names`, taking them from any other; an existing image gets them too."""
        async with self._changing:
            if known := self._images.get(new.id):
                return await self._note(known, names, new.documents)
            return await self._put(_image(new), names, new.layers)

    async def name(self, id: Digest, names: Sequence[Reference], documents: Sequence[Digest] = ()) -> Image:
        """Give an existing image `names`, taking them from any other, and record its `documents`.

        Raises `NotFound` if it is gone.
        """
        async with self._changing:
            if id not in self._images:
                raise NotFound(f"No such image: {id}")
            return await self._note(self._images[id], names, documents)

    async def update_layer(self, layer: Layer) -> None:
        """Record that a layer has another blob."""
        row = rows.layer_row(layer)
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE layers SET document = ? WHERE chain_id = ?", (row[-1], layer.chain_id)
            )
        )

    async def remove_names(self, names: Iterable[Reference]) -> None:
        """Remove names; no error if they are gone."""
        keys = [_key(name) for name in names]

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM image_references WHERE reference = ?", [(key,) for key in keys])

        def show() -> None:
            for key in keys:
                self._unname(key)

        async with self._changing:
            await self._change(change, show)

    async def remove(self, image: Image) -> None:
        """Remove an image and all its names. Its layers and blobs become garbage, unless others use them."""

        def show() -> None:
            self._names = {key: id for key, id in self._names.items() if id != image.id}
            self._images.pop(image.id, None)

        async with self._changing:
            await self._change(lambda connection: rows.delete(connection, rows.RowName("images", image.id)), show)

    async def forget_layers(self, chain_ids: Sequence[str]) -> None:
        """Remove layers whose snapshots are gone."""
        await self._database.write(lambda connection: _delete_layers(connection, chain_ids), durable=False)

    async def _note(self, known: Image, names: Sequence[Reference], documents: Sequence[Digest]) -> Image:
        fresh = [name for name in names if self._names.get(_key(name)) != known.id]
        documents = tuple(dict.fromkeys((*known.documents, *documents)))
        if not fresh and known.documents == documents:
            return known
        return await self._put(replace(known, documents=documents), fresh, ())

    async def _put(self, image: Image, names: Sequence[Reference], layers: Sequence[Layer]) -> Image:
        """Write an image, those of its `layers` that are not known yet, and `names` that it did not have."""
        if names:
            image = replace(image, tagged_at=_now())

        def change(connection: sqlite3.Connection) -> None:
            for layer in layers:
                connection.execute("INSERT OR IGNORE INTO layers VALUES (?, ?, ?, ?, ?)", rows.layer_row(layer))
            connection.execute(
                "INSERT INTO images VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                (image.id, rows.image_document(image)),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO image_references VALUES (?, ?)", [(_key(name), image.id) for name in names]
            )

        def show() -> None:
            self._images[image.id] = image
            for name in names:
                self._name(name, image.id)

        await self._change(change, show)
        return self._images[image.id]

    async def _change(self, change: Callable[[sqlite3.Connection], object], show: Callable[[], None]) -> None:
        """Change the database and then, with `show`, memory: both or neither, even if the caller is cancelled."""
        writing = asyncio.ensure_future(self._database.write(change))
        try:
            await settled(writing)
        finally:
            if writing.exception() is None:
                show()
        writing.result()

    def _find_by_prefix(self, name: str) -> Image | None:
        prefix = _ID_PREFIX.fullmatch(name)
        if not prefix:
            return None
        found = [image for image in self._images.values() if image.id.hex.startswith(prefix[1])]
        if len(found) > 1:
            raise NotFound("ambiguous reference")
        return found[0] if found else None

    def _name(self, name: Reference, id: Digest) -> None:
        self._unname(_key(name))
        self._names[_key(name)] = id
        self._show_names(id)

    def _unname(self, key: str) -> None:
        before = self._names.pop(key, None)
        if before is not None:
            self._show_names(before)

    def _show_names(self, id: Digest) -> None:
        image = self._images[id]
        names = self.names_of(image)
        self._images[id] = replace(
            image,
            references=tuple(name.familiar for name in names if not name.digest),
            repo_digests=tuple(name.familiar for name in names if name.digest),
        )


def _delete_layers(connection: sqlite3.Connection, chain_ids: Sequence[str]) -> None:
    for chain_id in chain_ids:
        rows.delete(connection, rows.RowName("layers", chain_id))


def _key(reference: Reference) -> str:
    """A name as stored: if it has a tag and a digest, only the digest counts (moby refstore, Get)."""
    return str(reference.with_digest(reference.digest) if reference.digest else reference.tagged())


def _image(new: NewImage) -> Image:
    return Image(
        id=new.id,
        config=new.config,
        references=(),
        repo_digests=(),
        layers=tuple(layer.chain_id for layer in new.layers),
        size_bytes=sum(layer.size_bytes for layer in new.layers),
        created=str(new.config.get("created") or ""),
        documents=new.documents,
    )


def _there(layers: Iterable[Layer], snapshots: AbstractSet[str]) -> Iterator[Layer]:
    return (layer for layer in layers if layer.chain_id in snapshots)


def _makes_sense(read: Callable[[RowT], ThingT], row: RowT) -> bool:
    try:
        read(row)
    except _SENSELESS:
        return False
    return True


def _sound(read: Callable[[RowT], ThingT], row: RowT) -> ThingT | None:
    try:
        return read(row)
    except _SENSELESS as error:
        _log.error("an invalid row of the database is left out: %.200s: %r", row, error)
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
