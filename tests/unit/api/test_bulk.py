"""Request bodies read bypassing the parser, and where the parser resumes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.bulk import BulkBody

HEAD = b"POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunked(*contents: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(content), content) for content in contents)


class Parser:
    """What httptools makes of a request whose head it has already seen."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(HEAD)

    def on_body(self, content: bytes) -> None:
        self.body += content

    def on_message_complete(self) -> None:
        self.complete = True

    def feed(self, content: bytes) -> None:
        self._parser.feed_data(content)


class Stage:
    """A body, the client sending it, and the bytes handed back to the parser."""

    def __init__(self, early: bytes = b"") -> None:
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.rests: list[bytes] = []
        self.bulk = BulkBody(self.server.fileno(), early, self.rests.append)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.client.sendall(piece)

    def close(self) -> None:
        self.bulk.close()
        self.client.close()
        self.server.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


@asynccontextmanager
async def staged(early: bytes = b"") -> AsyncIterator[Stage]:
    stage = Stage(early)
    try:
        yield stage
    finally:
        stage.close()


async def read(stage: Stage) -> bytes:
    """Read all blocks in a thread, until they end."""
    with stage.bulk.blocks() as blocks:
        return await asyncio.to_thread(b"".join, blocks)


def pieces(content: bytes, borders: Sequence[int]) -> Iterator[bytes]:
    places = sorted({0, len(content), *(border % (len(content) + 1) for border in borders)})
    return (content[start:end] for start, end in pairwise(places))


@given(
    contents=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8),
    early=st.integers(0, 200),
    borders=st.lists(st.integers(0, 400), max_size=8),
)
async def test_contents_come_whole_however_they_are_sent(
    contents: list[bytes], early: int, borders: list[int]
) -> None:
    sent = chunked(*contents) + LAST + b"GET /next"
    async with staged(sent[:early]) as stage:
        sending = asyncio.create_task(asyncio.to_thread(stage.send, *pieces(sent[early:], borders)))
        assert await read(stage) == b"".join(contents)
        await sending
        [rest] = stage.rests
        stage.server.setblocking(False)
        left = stage.server.recv(1000) if len(rest) < len(LAST + b"GET /next") else b""
    assert rest + left == LAST + b"GET /next"


async def test_blocks_are_large_ones(stage: Stage) -> None:
    sending = asyncio.create_task(asyncio.to_thread(stage.send, *[chunked(bytes(32 << 10))] * 128, LAST))
    with stage.bulk.blocks() as blocks:
        sizes = await asyncio.to_thread(lambda: [len(block) for block in blocks])
    await sending
    assert sum(sizes) == 4 << 20
    assert len(sizes) <= 5


async def test_the_parser_goes_on_with_the_last_chunk(stage: Stage) -> None:
    stage.send(chunked(b"one", b"two"), b"0\r\nTrailer: x\r\n\r\n")
    assert await read(stage) == b"onetwo"
    parser = Parser()
    parser.feed(*stage.rests)
    assert (parser.complete, parser.body) == (True, b"")


async def test_what_is_no_ordinary_chunk_is_the_parsers(stage: Stage) -> None:
    odd = b"3;name=value\r\ntwo\r\n" + LAST
    stage.send(chunked(b"one"), odd)
    assert await read(stage) == b"one"
    parser = Parser()
    parser.feed(*stage.rests)
    assert (parser.complete, parser.body) == (True, b"two")


@pytest.mark.parametrize(
    "sent", [b"no chunk at all\r\n", b"3\r\none!!\r\n0\r\n\r\n", b"-3\r\none\r\n0\r\n\r\n", b"x"]
)
async def test_what_makes_no_sense_the_parser_refuses(stage: Stage, sent: bytes) -> None:
    stage.send(sent)
    await read(stage)
    with pytest.raises(httptools.HttpParserError):
        Parser().feed(*stage.rests)


@pytest.mark.parametrize("sent", range(1, len(chunked(b"content")) + 1))
async def test_the_parser_goes_on_wherever_reading_was_stopped(stage: Stage, sent: int) -> None:
    whole = chunked(b"content") + LAST
    stage.send(whole[:sent])
    with stage.bulk.blocks() as blocks:
        reading = asyncio.ensure_future(asyncio.to_thread(list, blocks))
        while await asyncio.to_thread(unread, stage.server):
            pass
        stage.bulk.stop()
        await reading
    parser = Parser()
    parser.feed(*stage.rests)
    parser.feed(whole[sent:])
    assert parser.complete


@pytest.mark.parametrize("early", range(1, len(chunked(b"content")) + 1))
async def test_a_stop_before_the_early_bytes_are_looked_at_is_not_forgotten(early: int) -> None:
    whole = chunked(b"content") + LAST
    async with staged(whole[:early]) as stage:
        with stage.bulk.blocks() as blocks:
            stage.bulk.stop()
            await asyncio.to_thread(list, blocks)
        parser = Parser()
        parser.feed(*stage.rests)
        parser.feed(whole[early:])
    assert parser.complete


def unread(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_a_client_that_goes_away_ends_the_blocks(stage: Stage) -> None:
    stage.send(chunked(b"one"), b"9\r\ntwo")
    stage.client.close()
    assert await read(stage) == b"onetwo"
    assert stage.rests == [b""]


async def test_a_lost_connection_ends_the_blocks(stage: Stage) -> None:
    with stage.bulk.blocks() as blocks:
        reading = asyncio.ensure_future(asyncio.to_thread(list, blocks))
        stage.send(chunked(b"one"))
        while await asyncio.to_thread(unread, stage.server):
            pass
        stage.bulk.lose()
        assert await reading == [b"one"]
    assert len(stage.rests) == 1


async def test_the_parser_goes_on_after_a_lost_connection_only_when_nobody_reads() -> None:
    async with staged(chunked(bytes(1 << 20))) as stage:
        stage.send(chunked(b"one"))
        with stage.bulk.blocks() as blocks:
            assert len(await asyncio.to_thread(next, blocks)) == (1 << 20) + 3
            stage.bulk.lose()
            assert not stage.rests  # the thread may still be reading
            assert await asyncio.to_thread(list, blocks) == []
        assert len(stage.rests) == 1


async def test_the_beginning_stays_to_be_read(stage: Stage) -> None:
    telling = asyncio.ensure_future(stage.bulk.beginning(4))
    for piece in (b"7", b"\r\nco", b"nte", b"nt\r\n", LAST):
        stage.send(piece)
        await asyncio.sleep(0)
    assert await telling == b"cont"
    assert await read(stage) == b"content"


async def test_a_lost_connection_ends_the_beginning(stage: Stage) -> None:
    telling = asyncio.ensure_future(stage.bulk.beginning(4))
    stage.send(b"7\r\nc")
    while await asyncio.to_thread(unread, stage.server):
        pass
    stage.bulk.lose()
    assert not stage.rests
    assert await telling == b"c"
    assert stage.rests == [b"7\r\nc"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [(chunked(b"no", b"more"), b"no"), (LAST, b""), (b"what is this\r\n", b""), (b"x", b""), (b"7\r\nco", b"")],
)
async def test_the_beginning_may_be_short(stage: Stage, sent: bytes, told: bytes) -> None:
    stage.send(sent)
    stage.client.shutdown(socket.SHUT_WR)
    assert (await stage.bulk.beginning(4))[: len(told)] == told


async def test_who_does_not_read_leaves_all_to_the_parser() -> None:
    async with staged(b"3\r\no") as stage:
        stage.bulk.close()
        stage.bulk.close()
        assert stage.rests == [b"3\r\no"]
