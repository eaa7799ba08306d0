"""inotify(7) in the loop: wait until something happens to the files of a directory."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]


class Watch:
    """Tells that files of a directory were written, made or renamed into it. Made by `watch`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, self._drain)

    async def wait(self) -> None:
        """Until something changed since the last call came back."""
        await self._changed.wait()
        self._changed.clear()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fd, 65536):
                pass
        self._changed.set()


@contextlib.contextmanager
def watch(directory: Path) -> Iterator[Watch]:
    """Watch `directory` as long as the context lasts. Raises `OSError` (ENOSPC: too many watches of this user)."""
    fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    _check(fd, directory)
    try:
        _check(_libc.inotify_add_watch(fd, os.fsencode(directory), IN_MODIFY | IN_MOVED_TO | IN_CREATE), directory)
        yield Watch(fd)
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


def _check(result: int, directory: Path) -> None:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), str(directory))
