"""Keeps the logs of running containers within their limits, without losing anything that the limits keep."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from sampan.errdefs import SampanError
from sampan.runtime.inotify import Inotify
from sampan.runtime.log_files import LogFiles

_log = logging.getLogger(__name__)
_GATHER_S = 0.05
_PATIENCE_S = 1.0


@dataclass
class _Kept:
    """A log that is managed; `current` is the inode that has been numbered, `turn` the rotation in progress."""

    id: str
    files: LogFiles
    watch: ExitStack = field(default_factory=ExitStack)
    current: int = 0
    asked_at: float = float("-inf")
    turn: asyncio.Task[None] | None = None

    @property
    def needs_number(self) -> bool:
        return self.files.inode() != self.current

    @property
    def needs_file(self) -> bool:
        """Whether the monitor should be asked for a new file, unless it was asked a moment ago."""
        return self.files.is_full() and time.monotonic() - self.asked_at > _PATIENCE_S


class LogKeeper:
    """Checks a log after it was written to, at most twenty times a second.

    If the current file is full, it asks the monitor for a new one, and numbers that as soon as it exists. So a file
    may exceed its limit by what a container writes in that time.
    """

    def __init__(self, reopen: Callable[[str], Awaitable[None]]) -> None:
        self.changes = Inotify()
        self._reopen = reopen
        self._writes = Inotify(gather_s=_GATHER_S)
        self._kept: dict[str, _Kept] = {}

    async def keep(self, id: str, files: LogFiles) -> None:
        """Manage the log of a container that runs or is about to."""
        await self.forget(id)
        kept = self._kept[id] = _Kept(id, files)
        try:
            kept.watch.enter_context(self._writes.told(files.path.parent, lambda: self._look(kept)))
        except OSError as error:  # the monitor's own limit still applies
            _log.error("the log of container %s can't be watched: %s", id, error)
        self._look(kept)

    async def forget(self, id: str) -> None:
        """Called when the container has ended: on return, the last file is numbered."""
        kept = self._kept.pop(id, None)
        if kept is None:
            return
        kept.watch.close()
        if kept.turn:
            await kept.turn
        await asyncio.to_thread(_number, kept)

    async def close(self) -> None:
        """Stop managing all logs."""
        for id in list(self._kept):
            await self.forget(id)

    def _look(self, kept: _Kept) -> None:
        if kept.turn is None and (kept.needs_number or kept.needs_file):
            kept.turn = asyncio.create_task(self._do(kept), name=f"rotate the log of {kept.id[:12]}")

    async def _do(self, kept: _Kept) -> None:
        try:
            await asyncio.to_thread(_number, kept)
            if kept.needs_file:
                kept.asked_at = time.monotonic()
                await self._reopen(kept.id)
        except SampanError as error:
            _log.debug("the log of container %s stays as it is: %s", kept.id, error)
        finally:
            kept.turn = None
        if self._kept.get(kept.id) is kept and kept.needs_number:  # changes in the meantime were not reported
            self._look(kept)


def _number(kept: _Kept) -> None:
    """Number the current file, and remove those that are too old. Blocks."""
    kept.current = kept.files.inode()
    try:
        if kept.files.number_current():
            kept.asked_at = float("-inf")
            kept.files.prune()
    except OSError as error:
        _log.error("the log of container %s can't be rotated: %s", kept.id, error)
