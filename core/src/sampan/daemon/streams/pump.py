"""Moves bytes between a caller and a process, both ways, until one of them has had enough."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from sampan.daemon.streams.detach import DetachFilter
from sampan.engine import Streams
from sampan.runtime.interface import STDERR, STDOUT, Attached


@dataclass(frozen=True)
class Wanted:
    """Which streams the caller wants. `close_stdin` hands the end of its input on to the process."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    close_stdin: bool = False
    detach_keys: bytes | None = None

    @property
    def outputs(self) -> frozenset[int]:
        """The streams of output, as numbers."""
        return frozenset({STDOUT} if self.stdout else ()) | frozenset({STDERR} if self.stderr else ())


async def pump(streams: Streams, attached: Attached, wanted: Wanted) -> bool:
    """Run until the process's output ends (answers true), the caller detaches, or it is gone (false)."""
    output = asyncio.create_task(_pump_output(streams, attached, wanted.outputs))
    tasks = {output}
    if wanted.stdin:
        tasks.add(asyncio.create_task(_pump_input(streams, attached, wanted)))
    try:
        while tasks:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if any(_ends(task) for task in done):
                break
        return output.done() and output.exception() is None
    finally:
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:  # cancelled twice, by a client that goes as the daemon ends
            await attached.close()


def _ends(task: asyncio.Task[bool]) -> bool:
    error = task.exception()
    if error and not isinstance(error, ConnectionError):
        raise error
    return error is not None or task.result()


async def _pump_output(streams: Streams, attached: Attached, outputs: frozenset[int]) -> bool:
    while (chunk := await attached.read()) is not None:
        stream, content = chunk
        if stream in outputs:
            await streams.write(stream, content)
    return True


async def _pump_input(streams: Streams, attached: Attached, wanted: Wanted) -> bool:
    """Answers whether the caller typed the detach keys."""
    keys = DetachFilter(wanted.detach_keys) if wanted.detach_keys else None
    while typed := await streams.read():
        content = keys.feed(typed) if keys else typed
        if content:
            with contextlib.suppress(ConnectionError):  # the process has closed its stdin; what it says goes on
                await attached.write(content)
        if keys and keys.detached:
            return True
    if wanted.close_stdin:
        await attached.close_stdin()
    return False
