"""inotify(7) in the event loop: notifications about changes to the files in a directory."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_Q_OVERFLOW = 0x00004000
IN_IGNORED = 0x00008000
_MASK = IN_MODIFY | IN_MOVED_TO | IN_CREATE
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the following name
_READ_BYTES = 65536

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]


class Watch:
    """Notifies when files in a directory were written, created or renamed into it. Created by `Inotify.watch`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.tell = self._changed.set

    async def wait(self) -> None:
        """Wait until something has changed since the last call returned."""
        await self._changed.wait()
        self._changed.clear()


class Inotify:
    """One inotify instance for any number of directories, as a user is limited to 128 instances.

    It exists while something is watched. With `gather_s`, notifications are delayed by that time after the first
    event, so that a file written a thousand times a second does not cause a thousand wakeups.
    """

    def __init__(self, gather_s: float = 0.0) -> None:
        self._gather_s = gather_s
        self._fd: int | None = None
        self._listeners: dict[int, list[Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def watch(self, directory: Path) -> Iterator[Watch]:
        """Watch `directory` during the context. Raises `OSError` (ENOSPC: too many watches)."""
        watch = Watch()
        with self.told(directory, watch.tell):
            yield watch

    @contextlib.contextmanager
    def told(self, directory: Path, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` on changes during the context. Raises `OSError`."""
        number = self._add(directory)
        listeners = self._listeners.setdefault(number, [])
        listeners.append(listener)
        try:
            yield
        finally:
            listeners.remove(listener)
            if not listeners:
                self._remove(number)

    def _add(self, directory: Path) -> int:
        fd = self._open()
        number = int(_libc.inotify_add_watch(fd, os.fsencode(directory), _MASK))
        if number < 0:
            error = ctypes.get_errno()
            self._close_if_idle()
            raise OSError(error, os.strerror(error), str(directory))
        return number

    def _remove(self, number: int) -> None:
        del self._listeners[number]
        if self._fd is not None:
            _libc.inotify_rm_watch(self._fd, number)  # fails if the directory is gone, and its watch with it
        self._close_if_idle()

    def _open(self) -> int:
        if self._fd is None:
            fd = int(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
            if fd < 0:
                raise OSError(ctypes.get_errno(), f"inotify_init1: {os.strerror(ctypes.get_errno())}")
            asyncio.get_running_loop().add_reader(fd, self._on_events)
            self._fd = fd
        return self._fd

    def _close_if_idle(self) -> None:
        if self._listeners or self._fd is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        # close(2) waits up to 25 ms for a grace period (Linux fs/notify/group.c, fsnotify_destroy_group).
        loop.run_in_executor(None, os.close, self._fd)
        self._fd = None

    def _on_events(self) -> None:
        if not self._gather_s or self._fd is None:
            self._tell()
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        self._timer = loop.call_later(self._gather_s, self._gathered)

    def _gathered(self) -> None:
        self._timer = None
        if self._fd is not None:
            asyncio.get_running_loop().add_reader(self._fd, self._on_events)
            self._tell()

    def _tell(self) -> None:
        for number in self._take():
            for listener in list(self._listeners.get(number, ())):
                listener()

    def _take(self) -> set[int]:
        """The watches with events; all watches if there are too many events to distinguish."""
        assert self._fd is not None  # noqa: S101 for the type checker
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._fd, _READ_BYTES)
            if len(events) < _READ_BYTES // 2:
                return _watches(events) or set(self._listeners)
            while os.read(self._fd, _READ_BYTES):
                pass
        return set(self._listeners)


def _watches(events: bytes) -> set[int]:
    """The watches in `events`; none after an overflow, as events of any watch may be lost."""
    watches = set()
    at = 0
    while at < len(events):
        number, mask, _, length = _HEAD.unpack_from(events, at)
        if mask & IN_Q_OVERFLOW:
            return set()
        if not mask & IN_IGNORED:
            watches.add(number)
        at += _HEAD.size + length
    return watches
