"""A blob that a worker reads while it is still being written."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from sampan.digest import Digest
from sampan.images.layer.pipeline import GROWTH_ENDED, GROWTH_SHIFT


class GrowingBlob:
    """The blob that is being written to the file `path`, to be `size_bytes` long.

    `source` and `growth` are file descriptors for the worker: the file, and an eventfd that counts how much of it was
    written. Not a pipe, in which whoever writes would wait for whoever unpacks. `digest` is known at the end.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.digest: asyncio.Future[Digest] = asyncio.get_running_loop().create_future()
        self._lock = threading.Lock()
        self._closed = False
        self.source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.growth = os.eventfd(0, os.EFD_CLOEXEC)
        except OSError:
            os.close(self.source)
            raise

    def grown(self, count: int) -> None:
        """So many more bytes are in the file; for the thread that writes them."""
        self._tell(count << GROWTH_SHIFT)

    def ended(self) -> None:
        """All of it is in the file; for the same thread."""
        self._tell(GROWTH_ENDED)

    def close(self) -> None:
        """The worker has ended, or will never be."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.source)
                os.close(self.growth)

    def _tell(self, count: int) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self.growth, count)
