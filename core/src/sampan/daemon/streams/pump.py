"""Copies bytes between a caller and a process, in both directions, until one of them ends."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from sampan.daemon.streams.detach import DetachFilter
from sampan.engine import Streams
from sampan.runtime.interface import STDERR, STDOUT, Attached


@dataclass(frozen=True)
class Wanted:
    """The streams that the caller wants. `close_stdin` passes the end of the caller's input on to the process."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    close_stdin: bool = False
    detach_keys: bytes | None = None

    @property
    def outputs(self) -> frozenset[int]:
        """The output streams, by number."""
        return frozenset({STDOUT} if self.stdout else ()) | frozenset({STDERR} if self.stderr else ())


async def pump(streams: Streams, attached: Attached, wanted: Wanted) -> bool:
    """Run until the process's output ends (returns true), or the caller detaches or disconnects (false)."""
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
        finally:  # cancelled twice, if a client leaves while the daemon shuts down
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
    """Returns whether the caller typed the detach keys."""
    keys = DetachFilter(wanted.detach_keys) if wanted.detach_keys else None
    while typed := await streams.read():
        content = keys.feed(typed) if keys else typed
        if content:
            with contextlib.suppress(ConnectionError):  # the process has closed its stdin; its output continues
                await attached.write(content)
        if keys and keys.detached:
            return True
    if wanted.close_stdin:
        await attached.close_stdin()
    return False
