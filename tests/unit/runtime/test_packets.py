import asyncio
import socket
from collections.abc import AsyncIterator

import pytest_asyncio

from sampan.runtime.packets import Packets, Piece

OUT, ERR = 2, 3
FULL = bytes(8192)


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[tuple[socket.socket, Packets]]:
    """The writing end of a packet socket pair, and the reader of the other."""
    writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader.setblocking(False)
    packets = Packets(reader)
    with writer, reader:
        yield writer, packets
        packets.close()


def send(writer: socket.socket, mark: int, content: bytes) -> None:
    writer.send(bytes([mark]) + content)


async def test_packets_of_one_mark_become_one_piece(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    for content in (b"one ", b"two ", b"three"):
        send(writer, OUT, content)

    assert await packets.read() == [(OUT, b"one two three")]


async def test_the_order_of_the_marks_is_kept(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    for mark, content in ((OUT, b"a"), (ERR, b"b"), (ERR, b"c"), (OUT, b"d")):
        send(writer, mark, content)

    assert await packets.read() == [(OUT, b"a"), (ERR, b"bc"), (OUT, b"d")]


async def test_a_reader_waits_for_the_first_packet(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    reading = asyncio.create_task(packets.read())
    await asyncio.sleep(0)
    send(writer, ERR, b"late")

    assert await reading == [(ERR, b"late")]


async def test_the_end_comes_after_all_that_was_sent(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    send(writer, OUT, b"last words")
    writer.close()

    assert await packets.read() == [(OUT, b"last words")]
    assert await packets.read() == []
    assert await packets.read() == []


async def test_megabytes_come_through_whole_and_in_order(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    contents = [bytes([number % 251]) * (8192 - number % 3) for number in range(1000)]
    sending = asyncio.create_task(asyncio.to_thread(_send_all, writer, contents))
    received = b"".join([content async for _, content in _pieces(packets)])
    await sending

    assert received == b"".join(contents)


async def test_a_socket_is_crowded_by_what_it_has_room_for(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    for _ in range(13):
        send(writer, OUT, FULL)
    await packets.read()
    assert packets.crowded

    packets.widened()
    assert not packets.crowded


async def test_a_reset_is_an_end_that_loses_nothing(ends: tuple[socket.socket, Packets]) -> None:
    writer, packets = ends
    packets._socket.send(b"never read by the other side")
    send(writer, OUT, FULL)
    writer.close()

    assert await packets.read() == [(OUT, FULL)]
    assert await packets.read() == []


def _send_all(writer: socket.socket, contents: list[bytes]) -> None:
    for content in contents:
        send(writer, OUT, content)
    writer.close()


async def _pieces(packets: Packets) -> AsyncIterator[Piece]:
    while pieces := await packets.read():
        for piece in pieces:
            yield piece
