"""Keeps the logs of running containers within their limits, and loses nothing of what the limits keep."""

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
    id: str
    files: LogFiles
    watch: ExitStack = field(default_factory=ExitStack)
    current: int = 0  # the inode that has a number
    asked_at: float = float("-inf")


class LogKeeper:
    """Looks at a log when something was written to it, though not more often than twenty times a second.

    When the current file is full it asks the monitor for another one, and numbers that as soon as it is there. So a
    file may become larger than its limit by what a container writes in that time.
    """

    def __init__(self, reopen: Callable[[str], Awaitable[None]]) -> None:
        self.changes = Inotify()
        self._reopen = reopen
        self._writes = Inotify(gather_s=_GATHER_S)
        self._kept: dict[str, _Kept] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def keep(self, id: str, files: LogFiles) -> None:
        """Look after the log of a container that runs or is about to."""
        self.forget(id)
        kept = _Kept(id, files)
        try:
            kept.watch.enter_context(self._writes.told(files.path.parent, lambda: self._look(kept)))
        except OSError as error:  # the monitor's own limit holds
            _log.error("the log of container %s can't be watched: %s", id, error)
        self._kept[id] = kept
        self._look(kept)

    def forget(self, id: str) -> None:
        """The container has ended: what it wrote last has its number from now on."""
        if kept := self._kept.pop(id, None):
            kept.watch.close()
            self._number(kept)

    def close(self) -> None:
        """Look after nothing any more."""
        for id in list(self._kept):
            self.forget(id)

    def _look(self, kept: _Kept) -> None:
        if kept.files.inode() != kept.current:
            self._number(kept)
        if kept.files.is_full() and time.monotonic() - kept.asked_at > _PATIENCE_S:
            kept.asked_at = time.monotonic()
            task = asyncio.create_task(self._ask(kept), name=f"rotate the log of {kept.id[:12]}")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, kept: _Kept) -> None:
        try:
            await self._reopen(kept.id)
        except SampanError as error:
            _log.debug("the log of container %s stays as it is: %s", kept.id, error)

    def _number(self, kept: _Kept) -> None:
        try:
            kept.current = kept.files.inode()
            if kept.files.number_current():
                kept.asked_at = float("-inf")
                kept.files.prune()
        except OSError as error:
            _log.error("the log of container %s can't be rotated: %s", kept.id, error)
