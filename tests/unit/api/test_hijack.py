"""Raw connections, over real unix sockets."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from sampan.api.framing import header
from sampan.engine import Job
from sampan.errdefs import NotFound
from tests.support.serving import Serving

ATTACH = "POST /v1.50/containers/web/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: sampan\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
Handler = Callable[[Job[Any]], Awaitable[None]]


@asynccontextmanager
async def connection(api: Serving) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_unix_connection(str(api.path), limit=2**22)
    try:
        yield reader, writer
    finally:
        writer.close()


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def echo(*, multiplexed: bool) -> Handler:
    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=multiplexed)
        while content := await job.streams.read():
            await job.streams.write(1, content)
        await job.streams.write(2, b"end of input\n")

    return handler


async def test_attach_with_upgrade_answers_101_and_echoes_frames(api: Serving) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=True)
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        head = await head_of(reader)
        assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
        assert "Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
        assert "Connection: Upgrade\r\nUpgrade: tcp\r\n" in head
        assert f"Sampan-Job: {api.daemon.jobs[-1].id}\r\n" in head
        writer.write(b"hello")
        assert await reader.readexactly(13) == header(1, 5) + b"hello"
        writer.write_eof()
        assert await reader.read() == header(2, 13) + b"end of input\n"


async def test_output_never_comes_along_with_the_head(api: Serving) -> None:
    """As docker-py reads: the head through a buffer, the rest straight from the socket."""
    said_yes = threading.Event()

    async def hasty(job: Job[Any]) -> None:
        streams = job.require_streams()
        await streams.accept(multiplexed=True)
        await streams.write(1, b"at once")
        asyncio.get_running_loop().call_later(0.1, said_yes.set)  # it would have been sent by then

    def read_through_a_buffer() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(api.path))
            client.sendall((ATTACH + UPGRADE + "\r\n").encode())
            assert said_yes.wait(10)
            with client.makefile("rb") as buffered:
                while buffered.readline() != b"\r\n":
                    pass
            return client.recv(64)

    api.daemon.answers["container_attach"] = hasty
    assert await asyncio.to_thread(read_through_a_buffer) == header(1, 7) + b"at once"


async def test_attach_before_version_1_42_names_the_raw_stream_though_it_is_framed(api: Serving) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=True)
    async with connection(api) as (reader, writer):
        writer.write((ATTACH.replace("v1.50", "v1.41") + UPGRADE + "\r\n").encode())
        assert "Content-Type: application/vnd.docker.raw-stream\r\n" in await head_of(reader)
        writer.write_eof()
        assert await reader.read() == header(2, 13) + b"end of input\n"


async def test_attach_without_upgrade_answers_200_and_is_raw_with_a_terminal(api: Serving) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=False)
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + "\r\n").encode())
        head = await head_of(reader)
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n")
        writer.write(b"typed")
        writer.write_eof()
        assert await reader.read() == b"typedend of input\n"


@pytest.mark.parametrize("upgrade", [UPGRADE, ""])
async def test_bytes_and_end_of_input_that_come_with_the_head_are_not_lost(api: Serving, upgrade: str) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=False)
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + upgrade + "\r\nGET /early HTTP/1.1\r\n\r\n").encode())
        writer.write_eof()
        await head_of(reader)
        assert await reader.read() == b"GET /early HTTP/1.1\r\n\r\nend of input\n"


async def test_input_after_a_body_in_pieces_reaches_the_exec(api: Serving) -> None:
    api.daemon.answers["exec_start"] = echo(multiplexed=False)
    async with connection(api) as (reader, writer):
        body = b'{"Tty": true}'
        head = f"POST /exec/abc/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n{UPGRADE}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        await writer.drain()
        writer.write(body[:4])
        await writer.drain()
        writer.write(body[4:] + b"early")
        writer.write_eof()
        assert (await head_of(reader)).startswith("HTTP/1.1 101")
        assert await reader.read() == b"earlyend of input\n"
        assert api.daemon.asked.tty


async def test_output_goes_on_after_the_client_has_closed_its_side(api: Serving) -> None:
    eof_seen = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        assert await job.streams.read() == b""
        eof_seen.set()
        for number in range(100):
            await job.streams.write(1, b"%d\n" % number)
            await asyncio.sleep(0)

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
        writer.write_eof()
        await eof_seen.wait()
        assert (await reader.read()).splitlines()[-1] == b"99"


async def test_end_of_output_leaves_the_client_time_to_see_it(api: Serving) -> None:
    """Closing at once with unread input would give the client a connection reset instead."""

    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        await job.streams.write(1, b"done\n")

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n" + "x" * 100_000).encode())
        await head_of(reader)
        assert await reader.read() == b"done\n"


async def test_an_error_before_accept_is_an_http_error_and_ends_the_connection(api: Serving) -> None:
    api.daemon.answers["container_attach"] = NotFound("No such container: web")
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\nignored").encode())
        answer = (await reader.read()).decode()
    assert answer.startswith("HTTP/1.1 404 Not Found\r\n")
    assert answer.endswith('{"message":"No such container: web"}\n')
    assert "connection: close" in answer


async def test_a_bug_after_accept_ends_the_stream_and_is_logged(
    api: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        await job.streams.write(1, b"so far\n")
        raise ValueError("oops")

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
        assert await reader.read() == b"so far\n"
    assert "ValueError: oops" in caplog.text
    assert not any(record.name.startswith("uvicorn") for record in caplog.records)


async def test_a_client_that_is_gone_cancels_the_job_though_nothing_is_written(api: Serving) -> None:
    accepted, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        accepted.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
        await accepted.wait()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_writing_to_a_client_that_is_gone_ends(api: Serving) -> None:
    ended = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        try:
            while True:
                await job.streams.write(1, b"x" * 65536)
        finally:
            ended.set()

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_client_that_does_not_read_holds_the_writer_back(api: Serving) -> None:
    written = 0
    accepted = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        nonlocal written
        assert job.streams is not None
        await job.streams.accept(multiplexed=True)
        accepted.set()
        for _ in range(1000):
            await job.streams.write(1, b"x" * 65536)
            written += 1

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        transport = cast("asyncio.Transport", writer.transport)
        transport.pause_reading()
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await accepted.wait()
        before = -1
        while before != written:  # until it makes no more progress
            before = written
            for _ in range(50):
                await asyncio.sleep(0)
        assert written < 1000
        transport.resume_reading()
        await head_of(reader)
        received = 0
        while content := await reader.read(2**20):
            received += len(content)
        assert received == 1000 * (65536 + 8)


async def test_a_handler_that_does_not_read_holds_the_client_back(api: Serving) -> None:
    go_on = asyncio.Event()

    async def handler(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=False)
        await go_on.wait()
        total = 0
        while content := await job.streams.read():
            total += len(content)
        await job.streams.write(1, str(total).encode())

    api.daemon.answers["container_attach"] = handler
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
        writer.write(b"y" * 20_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.2)
        go_on.set()
        await writer.drain()
        writer.write_eof()
        assert await reader.read() == b"20000000"


async def test_the_caller_is_the_peer_of_the_socket(api: Serving) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=False)
    async with connection(api) as (reader, writer):
        writer.write((ATTACH + UPGRADE + "\r\n").encode())
        await head_of(reader)
        caller = api.daemon.jobs[-1].caller
        assert (caller.uid, caller.gid, caller.pid) == (os.getuid(), os.getgid(), os.getpid())


async def test_closing_the_server_waits_for_no_raw_connection_and_logs_nothing(
    api: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    api.daemon.answers["container_attach"] = echo(multiplexed=False)
    with caplog.at_level(logging.INFO):
        async with connection(api) as (reader, writer):
            writer.write((ATTACH + UPGRADE + "\r\n").encode())
            await head_of(reader)
            started = asyncio.get_running_loop().time()
            await api.server.close(30)
            assert asyncio.get_running_loop().time() - started < 5
    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == []
