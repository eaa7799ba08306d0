"""The gate at which a created container's init waits for its start, opened without running the OCI runtime."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from sampan.runtime.failure import create_failure
from sampan.runtime.interface import ExitStatus


def _pass_gate(gate: Path, fifo: int) -> bool:
    if not os.read(fifo, 1):
        return False
    gate.unlink()
    return True


async def _open_runc_gate(gate: Path, exit: asyncio.Future[ExitStatus]) -> None:
    """Let init of a runc container continue, as `runc start` does, without the 8 ms that running it takes.

    runc's init blocks while opening this fifo for writing; when there is a reader, it writes a byte and executes the
    command, and the reader removes the fifo, which turns `created` into `running` (runc libcontainer,
    container_linux.go handleFifo, standard_init_linux.go). `runc start` also runs hooks, if there are any.
    """
    loop = asyncio.get_running_loop()
    fifo = os.open(gate, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    written = asyncio.Event()
    loop.add_reader(fifo, written.set)
    opened = asyncio.ensure_future(written.wait())
    try:
        await asyncio.wait((opened, exit), return_when=asyncio.FIRST_COMPLETED)
        if not (opened.done() and _pass_gate(gate, fifo)):
            raise create_failure("the container's init ended before it was started")
    finally:
        opened.cancel()
        loop.remove_reader(fifo)
        os.close(fifo)


async def _open_crun_gate(gate: Path, exit: asyncio.Future[ExitStatus]) -> None:
    """Let init of a crun container continue, as `crun start` does (crun src/libcrun/status.c).

    Its init holds this fifo open and reads a byte; the writer removes the fifo first, from which crun knows that the
    container has been started.
    """
    try:
        fifo = os.open(gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # ENXIO: there is no reader
        raise create_failure("the container's init ended before it was started") from None
    try:
        os.unlink(gate)  # noqa: PTH108  one call, and nothing to wait for
        os.write(fifo, b"\0")
    finally:
        os.close(fifo)


OPENERS: Mapping[str, Callable[[Path, asyncio.Future[ExitStatus]], Awaitable[None]]] = {
    "runc": _open_runc_gate,
    "crun": _open_crun_gate,
}
"""How to start a created container, by the program that created it; saves the 8 ms of running that program."""
