"""Forwards signals and the terminal's size to the container."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from sampan.cli.client.client import Client
from sampan.cli.errors import CliError
from sampan.cli.streaming import Attachment
from sampan.cli.terminal import STDOUT, is_terminal, size_of

# Signals not forwarded: those raised by our own faults, or about our own children, sockets and window, and those that
# can't be caught.
_OURS = (
    "SIGCHLD",
    "SIGPIPE",
    "SIGURG",
    "SIGWINCH",
    "SIGKILL",
    "SIGSTOP",
    "SIGSEGV",
    "SIGBUS",
    "SIGFPE",
    "SIGILL",
    "SIGABRT",
    "SIGTRAP",
    "SIGSYS",
    "SIGPROF",
)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], Any], numbers: list[int]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def forwarded(client: Client, container_id: str) -> Iterator[None]:
    """Within the context, forward signals to the container."""

    def forward(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name.removeprefix("SIG")
        # It may have just ended, or not started yet: docker ignores that too.
        with suppress(CliError):
            client.call("POST", f"/containers/{container_id}/kill", query={"signal": name})

    named = [number for number in signal.Signals if number.name not in _OURS]
    with _handling(forward, [int(number) for number in named]):
        yield


@contextmanager
def following_size(client: Client, path: str, attachment: Attachment, *, redraw: bool = False) -> Iterator[None]:
    """Within the context, keep the terminal at `path` (`/containers/ID` or `/exec/ID`) at the size of ours.

    With `redraw` it first gets another size, so that a program that is already running redraws its prompt.
    """
    if not is_terminal(STDOUT):
        yield
        return

    def resize(*_: object, extra: int = 0) -> bool:
        rows, columns = size_of(STDOUT)
        try:
            client.call("POST", f"{path}/resize", query={"h": rows + extra, "w": columns + extra})
        except CliError:
            return False
        return True

    with _handling(resize, [signal.SIGWINCH]):
        if redraw:
            resize(extra=1)
        attachment.resize_with(resize)
        yield
