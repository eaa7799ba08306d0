"""Loads that unpack layers before the archive says which image they belong to."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from sampan.errdefs import InvalidArgument, NotFound
from sampan.images.content import ContentStore, Ingest
from tests.support.images import Entry, directory, hard_link, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.test_archive import chunks, docker_archive, load, oci_archive

pytestmark = [pytest.mark.root, pytest.mark.parametrize("room", [True], indirect=True, ids=["detached"])]

LARGE = os.urandom(1 << 20)
job = ContextVar("job", default="none")
BASE = layer([directory("etc"), Entry("etc/base", LARGE)])
UPPER = layer([directory("etc"), Entry("etc/first", b"1"), Entry("etc/upper", LARGE * 3)])


def written(room: Room) -> list[Path]:
    """The `base` files of layers not yet claimed by an image."""
    names = [name for name in room.snapshots() if name.startswith("layer-")]
    return [path for name in names for path in room.storage.detached_dir(name).rglob("base")]


async def until_written(room: Room) -> None:
    """Wait until the base layer of the archive still being received is on disk."""
    while not any(path.stat().st_size == len(LARGE) for path in written(room)):
        await asyncio.sleep(0)


async def first_layer(room: Room, archive: bytes) -> AsyncIterator[bytes]:
    """The archive up to within the second layer; ends once the first is unpacked."""
    async for chunk in chunks(archive[: -len(UPPER) // 4]):
        yield chunk
    await until_written(room)


async def test_a_layer_is_unpacked_while_the_next_one_comes_in(room: Room) -> None:
    archive = docker_archive(([BASE, UPPER], ["app:1"]))
    begun = set[str]()

    async def body() -> AsyncIterator[bytes]:
        sent = 0
        async for chunk in first_layer(room, archive):
            sent += len(chunk)
            yield chunk
        begun.update(room.snapshots())
        yield archive[sent:]

    items = Items()
    (image,) = await room.store.load(body(), progress=items, quiet=False)
    assert begun
    assert "Loading layer" in items.lines
    assert room.snapshots() == set(image.layers)
    mount = room.storage.view("look", image.layers[-1])[0]
    assert (Path(mount.source) / "etc/base").read_bytes() == LARGE


ARCHIVES = [docker_archive(([UPPER], ["app:1"])), oci_archive([UPPER])]


async def begun_layer(room: Room, archive: bytes) -> AsyncIterator[bytes]:
    """The archive up to the middle of its only layer; ends once that layer's first file is unpacked."""
    async for chunk in chunks(archive[: len(archive) // 2]):
        yield chunk
    while not any((room.storage.detached_dir(name) / "etc/first").exists() for name in room.snapshots()):
        await asyncio.sleep(0)


@pytest.mark.parametrize("archive", ARCHIVES, ids=["plain", "gzip"])
async def test_a_layer_is_unpacked_while_it_comes_in_itself(room: Room, archive: bytes) -> None:
    async def body() -> AsyncIterator[bytes]:
        sent = 0
        async for chunk in begun_layer(room, archive):
            sent += len(chunk)
            yield chunk
        yield archive[sent:]

    (image,) = await room.store.load(body(), progress=Items(), quiet=True)
    assert room.snapshots() == set(image.layers)
    mount = room.storage.view("look", image.layers[-1])[0]
    assert (Path(mount.source) / "etc/upper").read_bytes() == LARGE * 3


async def test_a_load_that_breaks_off_within_a_layer_leaves_nothing(room: Room) -> None:
    async def body() -> AsyncIterator[bytes]:
        async for chunk in begun_layer(room, ARCHIVES[0]):
            yield chunk
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await room.store.load(body(), progress=Items(), quiet=False)
    assert room.is_empty()


async def test_what_no_image_has_is_removed(room: Room) -> None:
    stray = Entry("stray.tar", layer([Entry("stray", LARGE)]))
    (image,) = await load(room, docker_archive(([BASE], ["app:1"]), beside=[stray]))
    assert room.snapshots() == set(image.layers)


async def test_what_is_here_already_is_not_unpacked_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = docker_archive(([BASE, UPPER], ["app:1"]))
    (image,) = await load(room, archive)
    prepared: list[str] = []
    monkeypatch.setattr(room.storage, "prepare", lambda key, *_: prepared.append(key))
    assert await load(room, archive) == [image]
    assert prepared == []


async def test_a_load_that_breaks_off_leaves_nothing_unpacked(room: Room) -> None:
    async def body() -> AsyncIterator[bytes]:
        async for chunk in first_layer(room, docker_archive(([BASE, UPPER], ["app:1"]))):
            yield chunk
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await room.store.load(body(), progress=Items(), quiet=False)
    assert room.is_empty()


async def test_a_layer_that_cannot_be_unpacked_is_refused_as_ever(room: Room) -> None:
    bad = layer([Entry("etc/base", LARGE), Entry("../out", b"x")])
    with pytest.raises(InvalidArgument, match="invalid entry name"):
        await load(room, docker_archive(([bad], ["app:1"])))
    assert room.is_empty()


async def test_a_link_to_what_a_layer_does_not_hold_is_refused_as_ever(room: Room) -> None:
    upper = layer([Entry("large", LARGE), hard_link("link", "etc/base")])
    with pytest.raises(NotFound, match="hardlink"):
        await load(room, docker_archive(([BASE, upper], ["app:1"])))
    assert room.is_empty()


async def test_reading_stands_back_for_unpacking(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    begun_with = list[int]()
    ingest = ContentStore.ingest

    def noting(content: ContentStore) -> Ingest:
        begun_with.append(priority())
        return ingest(content)

    monkeypatch.setattr(ContentStore, "ingest", noting)
    before = priority()
    await load(room, docker_archive(([BASE], ["app:1"])))
    assert begun_with
    assert min(begun_with) > before
    assert priority() == before


async def test_the_archive_comes_in_within_the_job_that_loads_it(room: Room) -> None:
    jobs = set[str]()

    async def body() -> AsyncIterator[bytes]:
        async for chunk in chunks(docker_archive(([BASE], ["app:1"]))):
            jobs.add(job.get())
            yield chunk

    job.set("this one")
    await room.store.load(body(), progress=Items(), quiet=False)
    assert jobs == {"this one"}
