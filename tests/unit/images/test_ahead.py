"""Unpacking ahead of demand: who owns the results, and what happens to the rest."""

import asyncio
import os
from pathlib import Path

from sampan.digest import Digest
from sampan.errdefs import SystemFailure
from sampan.images.ahead import Ahead, Blob, Filled
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer.unpack import Unpacked
from tests.support.containers import held_by

BLOBS = [Blob(Digest.of(bytes([number])), 1) for number in range(3)]


class Filler:
    """Fills snapshots once allowed, naming them after their blobs."""

    def __init__(self) -> None:
        self.filled: list[Blob | GrowingBlob] = []
        self.followed: set[GrowingBlob] = set()
        self.discarded: list[str] = []
        self.allowed = asyncio.Event()
        self.failure: Exception | None = None

    async def fill(self, blob: Blob | GrowingBlob) -> Filled:
        self.filled.append(blob)
        await self.allowed.wait()
        if self.failure:
            raise self.failure
        digest = await blob.digest if isinstance(blob, GrowingBlob) else blob.digest
        return digest, Unpacked(digest, digest, blob.size_bytes, 0, ())

    async def discard(self, key: str) -> None:
        self.discarded.append(key)

    def ahead(self, at_most: int = 2) -> Ahead:
        return Ahead(self.fill, self.discard, at_most=at_most, followed=self.followed)


async def test_what_was_taken_is_the_takers() -> None:
    filler = Filler()
    filler.allowed.set()
    async with filler.ahead() as ahead:
        ahead.begin(BLOBS[0])
        taken = await ahead.take(BLOBS[0].digest)
        assert taken is not None
        assert taken[0] == BLOBS[0].digest
        assert await ahead.take(BLOBS[0].digest) is None
    assert filler.discarded == []


async def test_what_nobody_took_is_discarded_and_what_is_not_done_ended() -> None:
    filler = Filler()
    async with filler.ahead() as ahead:
        filler.allowed.set()
        ahead.begin(BLOBS[0])
        await asyncio.wait(ahead._begun.values())
        filler.allowed.clear()
        ahead.begin(BLOBS[1])
        await asyncio.sleep(0)
    assert filler.filled == BLOBS[:2]
    assert filler.discarded == [BLOBS[0].digest]


async def test_who_is_cancelled_at_the_very_end_has_taken_nothing() -> None:
    filler = Filler()
    async with filler.ahead() as ahead:
        ahead.begin(BLOBS[0])
        taking = asyncio.create_task(ahead.take(BLOBS[0].digest))
        await asyncio.sleep(0)
        ahead._begun[BLOBS[0].digest].add_done_callback(lambda _: taking.cancel())
        filler.allowed.set()
        await asyncio.wait((taking,))
        assert taking.cancelled()
    assert filler.discarded == [BLOBS[0].digest]


async def test_what_two_wait_for_is_that_of_one() -> None:
    filler = Filler()
    async with filler.ahead() as ahead:
        ahead.begin(BLOBS[0])
        taking = [asyncio.create_task(ahead.take(BLOBS[0].digest)) for _ in range(2)]
        await asyncio.sleep(0)
        filler.allowed.set()
        taken = await asyncio.gather(*taking)
    assert [one is None for one in taken] == [False, True]
    assert filler.discarded == []


async def test_a_failure_is_left_to_who_tries_again() -> None:
    filler = Filler()
    filler.failure = SystemFailure("disk full")
    filler.allowed.set()
    async with filler.ahead() as ahead:
        ahead.begin(BLOBS[0])
        assert await ahead.take(BLOBS[0].digest) is None
        ahead.begin(BLOBS[1])
        await asyncio.wait(ahead._begun.values())
    assert filler.discarded == []


async def test_nothing_is_begun_twice_nor_more_than_may_be() -> None:
    filler = Filler()
    async with filler.ahead(at_most=2) as ahead:
        for blob in (BLOBS[0], BLOBS[0], *BLOBS):
            ahead.begin(blob)
        await asyncio.sleep(0)
        assert filler.filled == BLOBS[:2]
        assert BLOBS[2].digest not in ahead


async def test_what_is_followed_can_be_taken_once_it_has_a_name(tmp_path: Path) -> None:
    (file := tmp_path / "blob").touch()
    filler = Filler()
    filler.allowed.set()
    async with filler.ahead() as ahead:
        blob = ahead.follow(file, 1)
        assert blob is not None
        blob.grown(1)
        blob.ended()
        assert await ahead.take(BLOBS[0].digest) is None
        ahead.name(blob, BLOBS[0].digest)
        taken = await ahead.take(BLOBS[0].digest)
        assert taken is not None
    assert filler.discarded == []
    assert filler.followed == set()


async def test_what_was_followed_and_never_got_a_name_is_ended(tmp_path: Path) -> None:
    (file := tmp_path / "blob").touch()
    before = held_by(os.getpid())
    filler = Filler()
    filler.allowed.set()
    async with filler.ahead() as ahead:
        blob = ahead.follow(file, 1)
        assert blob is not None
    blob.grown(1)  # the writing thread may not know yet
    blob.ended()
    assert (filler.followed, filler.discarded) == (set(), [])
    assert held_by(os.getpid()) == before


async def test_few_are_followed_whosever_they_are(tmp_path: Path) -> None:
    (file := tmp_path / "blob").touch()
    filler = Filler()
    async with filler.ahead(at_most=9) as one, filler.ahead(at_most=9) as other:
        complete = one.follow(file, 1)
        assert complete
        assert other.follow(file, 1)
        assert one.follow(file, 1) is None
        one.name(complete, BLOBS[0].digest)
        assert one.follow(file, 1)
        assert other.follow(file, 1) is None
        filler.allowed.set()
