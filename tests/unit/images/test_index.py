"""Guarantees of the index and the layers under concurrent and failing changes, and once stored."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sampan.digest import Digest, chain_ids
from sampan.errdefs import NotFound, SystemFailure
from sampan.images.content import ContentStore
from sampan.images.image import Image
from sampan.images.index import ImageIndex, NewImage
from sampan.images.layer_maker import Layer, LayerMaker
from sampan.images.layers import Layers
from sampan.images.reference import Reference
from sampan.state import Database
from sampan.testing.memory_storage import MemoryStorage

CONFIG = Digest.of(b"config")


def stack(depth: int) -> list[Layer]:
    """Layers on top of each other, lowest first."""
    diff_ids = [Digest.of(b"%d" % number) for number in range(depth)]
    chain = chain_ids(diff_ids)
    return [
        Layer(chain_id, diff_id, parent, 1, diff_id, 1)
        for chain_id, diff_id, parent in zip(chain, diff_ids, [None, *chain], strict=False)
    ]


def names(*texts: str) -> list[Reference]:
    return [Reference.parse(text) for text in texts]


async def put(index: ImageIndex, *texts: str, layers: tuple[Layer, ...] = ()) -> Image:
    return await index.add(NewImage(CONFIG, {}, layers), names(*texts))


def reread(database: Database, *snapshots: str) -> ImageIndex:
    index = ImageIndex(database)
    index.load(set(snapshots))
    return index


async def test_a_stack_of_any_height_is_read_again(database: Database) -> None:
    layers = tuple(stack(3000))
    await put(ImageIndex(database), layers=layers)
    here = [str(layer.chain_id) for layer in layers]
    assert reread(database, *here).list()[0].layers == tuple(here)
    assert set(ImageIndex(database).load(set(here[:2000]))) == set(layers[:2000])
    assert not reread(database, *here[1:]).list()


def test_layers_of_any_height_are_listed_children_first(tmp_path: Path, database: Database) -> None:
    maker = LayerMaker(MemoryStorage(tmp_path), ContentStore(tmp_path), tmp_path, downloads=1)
    layers, one = stack(3000), Layers(maker, ImageIndex(database).update_layer)
    one.adopt(layers)
    assert one.list() == layers[::-1]


async def test_names_given_at_once_are_all_there(database: Database) -> None:
    index = ImageIndex(database)
    await put(index)
    await asyncio.gather(*(put(index, f"app:{number}") for number in range(8)))
    (image,) = index.list()
    assert image.references == tuple(f"app:{number}" for number in range(8))
    assert reread(database).list() == [image]


async def test_a_name_and_a_document_given_at_once_are_both_there(database: Database) -> None:
    index = ImageIndex(database)
    await put(index)
    document = Digest.of(b"manifest")
    await asyncio.gather(put(index, "app:1"), index.add(NewImage(CONFIG, {}, (), (document,)), []))
    (image,) = index.list()
    assert (image.references, image.documents) == (("app:1",), (document,))


async def test_an_image_that_is_gone_can_be_named_no_more(database: Database) -> None:
    index = ImageIndex(database)
    image = await put(index, "app:1")
    removing = asyncio.ensure_future(index.remove(image))
    await asyncio.sleep(0)  # it is writing, but has not published yet
    with pytest.raises(NotFound, match="No such image: sha256:"):
        await index.name(image.id, names("app:2"))
    await removing
    assert not index.list()
    assert not reread(database).list()


async def test_a_cancelled_change_is_whole(database: Database) -> None:
    index = ImageIndex(database)
    putting = asyncio.ensure_future(put(index, "app:1"))
    await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert index.list() == reread(database).list() != []


async def test_a_change_that_fails_shows_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any) -> None:
        raise SystemFailure("the disk is full")

    index = ImageIndex(database)
    monkeypatch.setattr(database, "write", full)
    with pytest.raises(SystemFailure):
        await put(index, "app:1")
    assert not index.list()
    with pytest.raises(NotFound):
        index.get("app:1")
