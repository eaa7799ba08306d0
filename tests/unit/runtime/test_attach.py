"""The stdio of an exec, over pipes."""

from __future__ import annotations

import asyncio
import os

import pytest

from sampan.runtime.attach import FileAttached
from sampan.runtime.interface import STDOUT

MORE_THAN_THERE_IS_ROOM_FOR = b"x" * 1_000_000


async def test_who_writes_to_a_process_that_ends_is_told_and_leaves_nothing_in_the_loop() -> None:
    outputs, theirs = os.pipe()
    source, stdin = os.pipe()
    attached = FileAttached({outputs: STDOUT}, stdin)
    writing = asyncio.create_task(attached.write(MORE_THAN_THERE_IS_ROOM_FOR))
    reading = asyncio.create_task(attached.read())
    await asyncio.sleep(0)
    assert not writing.done()
    os.close(theirs)
    attached.end()
    assert await reading is None
    reader, writer = os.pipe()  # newly opened files reuse those numbers
    assert {reader, writer} & {outputs, stdin}
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(writer, ready.set)
    with pytest.raises(BrokenPipeError):
        await writing
    await ready.wait()
    assert loop.remove_writer(writer)
    for fd in (reader, writer, source):
        os.close(fd)


async def test_who_waits_for_room_is_told_when_stdin_is_closed() -> None:
    outputs, theirs = os.pipe()
    source, stdin = os.pipe()
    attached = FileAttached({outputs: STDOUT}, stdin)
    writing = asyncio.create_task(attached.write(MORE_THAN_THERE_IS_ROOM_FOR))
    await asyncio.sleep(0)
    await attached.close_stdin()
    with pytest.raises(BrokenPipeError):
        await writing
    os.close(theirs)
    os.close(source)
    attached.end()
    assert await attached.read() is None
