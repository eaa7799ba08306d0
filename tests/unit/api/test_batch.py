import asyncio

import pytest

from sampan.api.batch import Batch


async def test_pieces_of_one_turn_go_out_together() -> None:
    sent: list[bytes] = []

    async def send(content: bytes) -> None:
        sent.append(content)

    batch = Batch(send)
    for number in range(5):
        await batch.write(b"%d" % number, b"\n")
    await batch.close()
    assert sent == [b"0\n1\n2\n3\n4\n"]


async def test_a_full_batch_waits_for_the_receiver() -> None:
    released = asyncio.Event()

    async def send(content: bytes) -> None:
        await released.wait()

    batch = Batch(send)
    await batch.write(b"first")
    await asyncio.sleep(0)  # the first is being sent
    writing = asyncio.create_task(batch.write(b"x" * 200_000))
    await asyncio.sleep(0)
    assert not writing.done()
    released.set()
    await writing
    await batch.close()


async def test_the_error_of_a_send_reaches_the_next_write() -> None:
    async def send(content: bytes) -> None:
        raise ConnectionResetError("gone")

    batch = Batch(send)
    await batch.write(b"lost")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionResetError):
        await batch.write(b"more")
