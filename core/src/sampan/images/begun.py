"""Partial downloads of blobs, with which a later pull continues, even after a restart of the daemon.

    begun/sha256/<hex>    the beginning of a blob, or all of it; empty while the whole blob is in the store
                          but no image uses it yet

The content of such a file is not verified: whoever continues reads and hashes it again. Small or old files are not
kept, nor files beyond a total size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument

KEPT_BYTES_MIN = 1 << 20
"""A smaller partial download is not worth keeping."""

_TOTAL_BYTES_MAX = 8 << 30
_AGE_MAX_S = 24 * 3600
_DIRECTORY_MODE = 0o700


class Begun:
    """The partial downloads in one directory. Its methods block, and are thread-safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._busy: set[Digest] = set()

    def open(self) -> None:
        """Look at what is there, and remove what is not worth keeping."""
        self._root.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self.trim()

    def __contains__(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def path(self, digest: Digest) -> Path:
        """The path of a blob's partial download, whether it exists or not."""
        return self._root / digest.algorithm / digest.hex

    def take(self, digest: Digest) -> Path | None:
        """The path to append a blob to; `None` while somebody else is writing it."""
        if digest in self._busy:
            return None
        self._busy.add(digest)
        path = self.path(digest)
        path.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        return path

    def give_back(self, digest: Digest, *, keep: bool) -> None:
        """Called when writing has ended; what was downloaded is kept if `keep` and worth it."""
        self._busy.discard(digest)
        if not keep:
            self.path(digest).unlink(missing_ok=True)
        self.trim()

    def mark(self, digest: Digest) -> None:
        """Record that the whole blob is in the content store, but no image uses it yet."""
        self.path(digest).touch(mode=0o600)

    def put_back(self, digest: Digest, blob: Path) -> bool:
        """Take back a whole blob that was marked and that no image uses. Returns whether it was marked."""
        if digest not in self or digest in self._busy:
            return False
        blob.rename(self.path(digest))
        return True

    def forget(self, digests: Iterable[Digest]) -> None:
        """Remove marks and partial downloads of `digests`, unless they are being written."""
        for digest in set(digests) - self._busy:
            self.path(digest).unlink(missing_ok=True)

    def clear(self) -> int:
        """Remove everything that is not being written; returns the number of bytes freed."""
        before = self.total_bytes()
        self.forget(digest for digest, _ in self._files())
        return max(0, before - self.total_bytes())

    def total_bytes(self) -> int:
        """The size of all partial downloads."""
        return sum(status.st_size for _, status in self._files())

    def trim(self) -> None:
        """Remove what is small, old, or beyond the total size, oldest first. Marks are removed by age only."""
        newest_first = sorted(self._files(), key=lambda file: -file[1].st_mtime_ns)
        total = 0
        for digest, status in newest_first:
            total += status.st_size
            is_old = status.st_mtime < time.time() - _AGE_MAX_S
            if is_old or total > _TOTAL_BYTES_MAX or 0 < status.st_size < KEPT_BYTES_MIN:
                self.forget([digest])

    def _files(self) -> Iterator[tuple[Digest, os.stat_result]]:
        for path in self._root.glob("*/*"):
            with suppress(FileNotFoundError):  # completed in the meantime
                try:
                    yield Digest(f"{path.parent.name}:{path.name}"), path.lstat()
                except InvalidArgument:
                    path.unlink()  # not a file of ours
