"""A blob that a worker unpacks while it is still being written."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from sampan.digest import Digest
from sampan.errdefs import SystemFailure
from sampan.images.layer.pipeline import GROWTH_ENDED, GROWTH_SHIFT


class GrowingBlob:
    """The blob that is being written to the file `path`; it will be `size_bytes` long.

    The worker gets two file descriptors: `source`, the file, and `growth`, an eventfd that counts the bytes written.
    With a pipe, the writer would have to wait for the worker. `digest` gets its result when the blob is complete.
    Raises `SystemFailure` if the descriptors can't be opened.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.digest: asyncio.Future[Digest] = asyncio.get_running_loop().create_future()
        self._lock = threading.Lock()
        self._closed = False
        try:
            self.source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.growth = _eventfd_beside(self.source)
        except OSError as error:
            raise SystemFailure(f"failed to read a blob: {os.strerror(error.errno or 0)}") from error

    def grown(self, count: int) -> None:
        """Report that `count` more bytes are in the file. To be called by the thread that writes it."""
        self._tell(count << GROWTH_SHIFT)

    def ended(self) -> None:
        """Report that the file is complete. To be called by the same thread."""
        self._tell(GROWTH_ENDED)

    def close(self) -> None:
        """Close the descriptors, once the worker has ended or will not be started."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.source)
                os.close(self.growth)

    def _tell(self, count: int) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.growth, count)


def _eventfd_beside(source: int) -> int:
    """A new eventfd. On failure, `source` is closed."""
    try:
        return os.eventfd(0, os.EFD_CLOEXEC)
    except OSError:
        os.close(source)
        raise
