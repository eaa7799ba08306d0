"""An archive that a handler reads in its own thread, and the state of the connection afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sampan.engine import Job
from sampan.errdefs import InvalidArgument
from sampan.images.archive_reader import BulkSource
from tests.support.serving import Serving

MIB = 1 << 20
HEAD = b"POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
PING = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"


async def archive() -> AsyncIterator[bytes]:
    for _ in range(40):
        yield b"x" * MIB


async def read_some(job: Job[Any], blocks_wanted: int) -> int:
    """Read up to `blocks_wanted` blocks of the body in a thread, then the rest; returns the number of bytes read."""
    assert isinstance(job.body, BulkSource)
    assert job.body.bulk is not None
    assert await job.body.bulk.beginning(2) == b"xx"
    with job.body.bulk.blocks() as blocks:
        size = await asyncio.to_thread(
            lambda: sum(len(block) for _, block in zip(range(blocks_wanted), blocks, strict=False))
        )
    return size + sum([len(piece) async for piece in job.body])


async def test_a_thread_reads_the_body(api: Serving) -> None:
    sizes: list[int] = []

    async def handler(job: Job[Any]) -> None:
        assert job.output is not None
        sizes.append(await read_some(job, 1000))
        await job.output.write({"stream": "Loaded"})

    api.daemon.answers["image_load"] = handler
    for _ in range(2):  # on the same connection
        status, body, _ = await api.call("POST", "/images/load", data=archive())
        assert (status, body) == (200, {"stream": "Loaded"})
    assert sizes == [40 * MIB] * 2


async def test_a_connection_goes_on_after_a_body_that_was_not_read(api: Serving) -> None:
    async def handler(job: Job[Any]) -> None:
        assert isinstance(job.body, BulkSource)
        assert job.body.bulk is not None
        with job.body.bulk.blocks() as blocks:
            await asyncio.to_thread(next, blocks)
        raise InvalidArgument("no archive")

    api.daemon.answers["image_load"] = handler
    reader, writer = await asyncio.open_unix_connection(str(api.path))
    writer.write(HEAD + b"100000\r\n" + bytes(MIB) + b"\r\n200000\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert b"no archive" in await reader.readuntil(b"}")
    writer.write(bytes(2 * MIB) + b"\r\n0\r\n\r\n" + PING)
    answer = await reader.read()
    assert answer.endswith(b"\r\n\r\nOK")
    writer.close()


async def test_a_client_that_goes_away_ends_the_job(api: Serving) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(job: Job[Any]) -> None:
        try:
            await read_some(job, 1000)
        except ConnectionResetError as error:
            ended.set_result(str(error))
            raise

    api.daemon.answers["image_load"] = handler
    _, writer = await asyncio.open_unix_connection(str(api.path))
    writer.write(HEAD + b"5\r\nxxxxx\r\n64\r\nxxx")
    await writer.drain()
    writer.close()
    assert await ended == "the client went away before its request was complete"


async def test_what_does_not_ask_for_blocks_gets_the_body_as_it_comes(api: Serving) -> None:
    sizes: list[int] = []

    async def handler(job: Job[Any]) -> None:
        assert job.body is not None
        sizes.append(sum([len(piece) async for piece in job.body]))

    api.daemon.answers["image_load"] = handler
    for data in (archive(), b"x" * MIB):  # the second is not chunked
        assert (await api.call("POST", "/images/load", data=data))[0] == 200
    assert sizes == [40 * MIB, MIB]
