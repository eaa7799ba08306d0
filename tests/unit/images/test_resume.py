"""Interrupted pulls, and the next ones, which resume them."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan.digest import Digest
from sampan.errdefs import DataLoss, SystemFailure
from sampan.images import begun
from sampan.images.begun import Begun
from sampan.images.store import Image, ImageStore
from tests.support.images import Entry, layer
from tests.unit.images.conftest import Items, Room
from tests.unit.images.pulling import files

pytestmark = pytest.mark.root

CONTENT = random.Random(1).randbytes(4 << 20)
LARGE = layer([Entry("large", CONTENT)])
FIRST = layer([Entry("first", random.Random(2).randbytes(2 << 20))])
HALF_BYTES = 3 << 20


class Watched:
    """A layer's blob in a room's registry: offsets it was requested from, and responses that stall midway."""

    def __init__(self, room: Room, content: bytes) -> None:
        self.digest = room.registry.layer_digest(content)
        self.asked_from: list[int] = []
        self._registry = room.registry
        self._root = room.root
        self._half_sent = asyncio.Event()
        self._gone = asyncio.Event()
        self._when: Callable[[], bool]
        room.registry.lies[self.digest] = self._note

    def _note(self, request: web.Request) -> None:
        self.asked_from.append(request.http_range.start or 0)

    async def broken_off(
        self, pull: Callable[[], asyncio.Future[Image]], when: Callable[[], bool] = lambda: True
    ) -> None:
        """Cancel `pull` once half of the blob has arrived and `when()` is true."""
        self._when = when
        self._registry.streams[self.digest] = self._stop_in_the_middle
        pulling = pull()
        await self._half_sent.wait()
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        self._gone.set()
        del self._registry.streams[self.digest]

    async def _stop_in_the_middle(self, request: web.Request) -> web.StreamResponse:
        blob = self._registry.blobs[self.digest]
        response = web.StreamResponse()
        response.content_length = len(blob)
        await response.prepare(request)
        await response.write(blob[:HALF_BYTES])
        while not (beginning_bytes(self._root, self.digest) and self._when()):
            await asyncio.sleep(0.01)
        self._half_sent.set()
        await self._gone.wait()
        return response


def beginnings(root: Path) -> list[Path]:
    return [path for path in (root / "images/content/begun").glob("*/*") if path.is_file()]


def beginning_bytes(root: Path, digest: Digest) -> int:
    path = root / "images/content/begun/sha256" / digest.hex
    return path.stat().st_size if path.exists() else 0


def pulling(room: Room, store: ImageStore | None = None) -> asyncio.Future[Image]:
    return asyncio.ensure_future(
        (store or room.store).pull(room.reference("app:1"), platform="linux/amd64", auth=None, progress=Items())
    )


async def test_a_pull_goes_on_where_one_whose_caller_left_broke_off(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    had = beginning_bytes(room.root, blob.digest)
    assert had >= 1 << 20
    assert not room.blobs()
    assert not room.snapshots()
    image = await room.pull("app:1")
    assert blob.asked_from == [0, had]
    assert files(room, image) == {"large": CONTENT}
    assert not beginnings(room.root)


async def test_the_next_daemon_goes_on_too_whether_or_not_the_registry_has_ranges(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    room.registry.ranges = False
    again = room.restarted()
    await again.open()
    try:
        assert files(room, await pulling(room, again)) == {"large": CONTENT}
    finally:
        await again.close()
    assert not beginnings(room.root)


async def test_a_layer_that_was_whole_is_not_fetched_again(room: Room) -> None:
    room.registry.push("1", [FIRST, LARGE])
    first, second = Watched(room, FIRST), Watched(room, LARGE)
    await second.broken_off(lambda: pulling(room), when=lambda: first.digest in room.blobs())
    assert not room.blobs()
    await room.pull("app:1")
    assert first.asked_from == [0]
    assert room.blobs() >= {first.digest, second.digest}
    assert not beginnings(room.root)


@pytest.mark.parametrize("step", ["commit", "remove"])
async def test_whoever_leaves_just_as_a_layer_is_made_is_in_nobodys_way(
    room: Room, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    room.registry.push("1", [FIRST])
    loop, work = asyncio.get_running_loop(), getattr(room.storage, step)

    def leave(*args: Any, **kwargs: Any) -> None:
        work(*args, **kwargs)
        loop.call_soon_threadsafe(leaving.cancel)

    with monkeypatch.context() as patched:
        patched.setattr(room.storage, step, leave)
        leaving = pulling(room)
        await asyncio.wait((leaving,))
    assert files(room, await room.pull("app:1"))


async def test_a_beginning_that_was_damaged_is_fetched_anew(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    (damaged,) = beginnings(room.root)
    with damaged.open("r+b") as file:
        file.seek(1 << 19)
        file.write(b"damage")
    image = await room.pull("app:1")
    assert files(room, image) == {"large": CONTENT}
    assert blob.asked_from[-1] == 0
    assert not beginnings(room.root)


async def test_a_beginning_longer_than_the_blob_is_fetched_anew(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    (damaged,) = beginnings(room.root)
    damaged.write_bytes(bytes(5 << 20))
    assert files(room, await room.pull("app:1")) == {"large": CONTENT}


async def test_a_registry_that_fails_for_good_leaves_what_came(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    room.registry.truncate[blob.digest] = HALF_BYTES
    room.registry.ranges = False
    with pytest.raises(SystemFailure):
        await room.pull("app:1")
    had = beginning_bytes(room.root, blob.digest)
    assert had >= 1 << 20
    room.registry.truncate.clear()
    room.registry.ranges = True
    await room.pull("app:1")
    assert blob.asked_from[-1] == had


async def test_a_pull_that_is_refused_leaves_no_beginning(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    room.registry.push("2", [LARGE, FIRST])
    first = room.registry.layer_digest(FIRST)
    room.registry.blobs[first] = bytes(len(room.registry.blobs[first]))
    with pytest.raises(DataLoss):
        await room.pull("app:2")
    assert room.is_empty()
    assert not beginnings(room.root)


async def test_what_images_take_on_the_disk_includes_beginnings_until_they_are_dropped(room: Room) -> None:
    room.registry.push("1", [LARGE])
    blob = Watched(room, LARGE)
    await blob.broken_off(lambda: pulling(room))
    had = beginning_bytes(room.root, blob.digest)
    assert await room.store.disk_bytes() == had
    assert await room.store.forget_begun() == had
    assert await room.store.disk_bytes() == 0
    assert not beginnings(room.root)


# ---- what is kept


def write(begun: Begun, name: bytes, size: int, age_s: float = 0) -> Digest:
    digest = Digest.of(name)
    path = begun.path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return digest


def test_only_large_new_beginnings_are_kept_and_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(begun, "_TOTAL_BYTES_MAX", 5 << 20)
    kept = Begun(tmp_path)
    small, old = write(kept, b"small", 1000), write(kept, b"old", 2 << 20, 25 * 3600)
    oldest, newer, newest = (write(kept, bytes([age]), 2 << 20, age) for age in (30, 20, 10))
    mark, busy = write(kept, b"mark", 0), write(kept, b"busy", 1000)
    assert kept.take(busy)
    kept.open()
    assert [one in kept for one in (small, old, oldest, newer, newest, mark, busy)] == [
        False,
        False,
        False,
        True,
        True,
        True,
        True,
    ]
    assert kept.take(busy) is None
    assert kept.clear() == 4 << 20
    assert busy in kept
