"""Bytes between a caller and a process, and which side ends what."""

from __future__ import annotations

import asyncio

import pytest

from sampan.daemon.streams.pump import Wanted, pump
from sampan.runtime.interface import STDERR, STDOUT

ALL = Wanted(stdin=True, stdout=True, stderr=True, close_stdin=True)


class Caller:
    """`Streams` with the test at the other end. `wrote` records output; clearing `go_on` blocks writes."""

    def __init__(self, *typed: bytes) -> None:
        self.typed: asyncio.Queue[bytes] = asyncio.Queue()
        for content in typed:
            self.typed.put_nowait(content)
        self.wrote: list[tuple[int, bytes]] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.gone = False

    async def accept(self, *, multiplexed: bool) -> None:
        raise AssertionError("pump accepts nothing")

    async def read(self) -> bytes:
        return await self.typed.get()

    async def write(self, stream: int, content: bytes) -> None:
        self.asked.set()
        await self.go_on.wait()
        if self.gone:
            raise ConnectionResetError("the client is gone")
        self.wrote.append((stream, content))


class Process:
    """`Attached` with the test at the other end."""

    def __init__(self, *said: tuple[int, bytes] | None) -> None:
        self.said: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        for item in said:
            self.said.put_nowait(item)
        self.heard: list[bytes] = []
        self.heard_something = asyncio.Event()
        self.stdin_gone = False
        self.closed = 0

    async def read(self) -> tuple[int, bytes] | None:
        return await self.said.get()

    async def write(self, content: bytes) -> None:
        self.heard_something.set()
        if self.stdin_gone:
            raise BrokenPipeError("stdin is closed")
        self.heard.append(content)

    async def close_stdin(self) -> None:
        self.heard.append(b"<end>")
        self.said.put_nowait(None)

    async def close(self) -> None:
        self.closed += 1


async def test_output_goes_to_the_caller_until_it_ends() -> None:
    caller, process = Caller(), Process((STDOUT, b"out"), (STDERR, b"err"), None)
    assert await pump(caller, process, ALL)
    assert caller.wrote == [(STDOUT, b"out"), (STDERR, b"err")]
    assert process.closed == 1


async def test_streams_that_are_not_wanted_are_read_and_thrown_away() -> None:
    caller, process = Caller(), Process((STDOUT, b"out"), (STDERR, b"err"), None)
    assert await pump(caller, process, Wanted(stderr=True))
    assert caller.wrote == [(STDERR, b"err")]


async def test_the_callers_end_is_the_processes_end_of_file_and_output_goes_on() -> None:
    caller, process = Caller(b"in", b""), Process()
    assert await pump(caller, process, ALL)
    assert process.heard == [b"in", b"<end>"]


async def test_the_callers_end_is_its_own_if_stdin_stays_open() -> None:
    caller, process = Caller(b"in", b""), Process()
    pumping = asyncio.create_task(pump(caller, process, Wanted(stdin=True, stdout=True)))
    await process.heard_something.wait()
    process.said.put_nowait((STDOUT, b"more"))
    process.said.put_nowait(None)
    assert await pumping
    assert (process.heard, caller.wrote) == ([b"in"], [(STDOUT, b"more")])


async def test_detach_keys_end_the_attachment_and_reach_nobody() -> None:
    caller, process = Caller(b"ab\x10", b"\x11cd"), Process()
    wanted = Wanted(stdin=True, stdout=True, detach_keys=b"\x10\x11")
    assert not await pump(caller, process, wanted)
    assert process.heard == [b"ab"]
    assert process.closed == 1


async def test_a_process_that_takes_no_input_is_still_listened_to() -> None:
    caller, process = Caller(b"in"), Process()
    process.stdin_gone = True
    pumping = asyncio.create_task(pump(caller, process, ALL))
    await process.heard_something.wait()
    process.said.put_nowait((STDOUT, b"said"))
    process.said.put_nowait(None)
    assert await pumping
    assert caller.wrote == [(STDOUT, b"said")]


async def test_a_slow_caller_holds_the_process_up() -> None:
    caller, process = Caller(), Process(*[(STDOUT, b"x")] * 10, None)
    caller.go_on.clear()
    pumping = asyncio.create_task(pump(caller, process, ALL))
    await caller.asked.wait()
    await asyncio.wait([pumping], timeout=0.01)  # time for any read-ahead
    assert process.said.qsize() == 10  # one is in flight, nothing is read ahead
    caller.go_on.set()
    assert await pumping
    assert len(caller.wrote) == 10


async def test_a_caller_that_is_gone_leaves_the_process_alone() -> None:
    caller, process = Caller(), Process((STDOUT, b"x"))
    caller.gone = True
    assert not await pump(caller, process, ALL)
    assert (process.heard, process.closed) == ([], 1)


async def test_a_cancelled_pump_lets_go_of_the_process() -> None:
    caller, process = Caller(b"in"), Process()
    pumping = asyncio.create_task(pump(caller, process, ALL))
    await process.heard_something.wait()
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    assert process.closed == 1


async def test_an_error_of_ours_is_not_taken_for_a_lost_connection() -> None:
    class Broken(Process):
        async def read(self) -> tuple[int, bytes] | None:
            raise ValueError("a bug")

    process = Broken()
    with pytest.raises(ValueError, match="a bug"):
        await pump(Caller(), process, ALL)
    assert process.closed == 1
