"""Blobs whose fetching broke off, so that the next pull goes on there, also that of the next daemon.

    begun/sha256/<hex>    the beginning of a blob, perhaps all of it; nothing, while the whole blob is in its place
                          but no image has it yet

What is in such a file nobody has verified: whoever goes on reads and hashes it again. Small beginnings are not kept,
nor old ones, nor more than so many bytes of them.
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
"""A smaller beginning is fetched again sooner than it is found."""

_TOTAL_BYTES_MAX = 8 << 30
_AGE_MAX_S = 24 * 3600
_DIRECTORY_MODE = 0o700


class Begun:
    """The beginnings below one directory. Its methods block; several threads may use them at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._busy: set[Digest] = set()

    def open(self) -> None:
        """Look at what is there, and drop what is not worth keeping."""
        self._root.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self.trim()

    def __contains__(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def path(self, digest: Digest) -> Path:
        """Where the beginning of a blob is, or would be."""
        return self._root / digest.algorithm / digest.hex

    def take(self, digest: Digest) -> Path | None:
        """The place to write a blob to, from the end of what is there; `None` while somebody else writes it."""
        if digest in self._busy:
            return None
        self._busy.add(digest)
        path = self.path(digest)
        path.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        return path

    def give_back(self, digest: Digest, *, keep: bool) -> None:
        """What was taken is written no more; what came so far stays if it is worth it."""
        self._busy.discard(digest)
        if not keep:
            self.path(digest).unlink(missing_ok=True)
        self.trim()

    def mark(self, digest: Digest) -> None:
        """The whole blob has gone to its place, and no image has it yet."""
        self.path(digest).touch(mode=0o600)

    def put_back(self, digest: Digest, blob: Path) -> bool:
        """Take a whole blob that was marked, and that no image came to have. Whether it was marked."""
        if digest not in self or digest in self._busy:
            return False
        blob.rename(self.path(digest))
        return True

    def forget(self, digests: Iterable[Digest]) -> None:
        """Drop marks and beginnings of `digests`, unless somebody is writing them."""
        for digest in set(digests) - self._busy:
            self.path(digest).unlink(missing_ok=True)

    def clear(self) -> int:
        """Drop all that nobody is writing; answers how many bytes that gave back."""
        before = self.total_bytes()
        self.forget(digest for digest, _ in self._files())
        return max(0, before - self.total_bytes())

    def total_bytes(self) -> int:
        """The size of all beginnings."""
        return sum(status.st_size for _, status in self._files())

    def trim(self) -> None:
        """Drop what is small, old, or over the bound: the oldest first. Marks go by age only."""
        newest_first = sorted(self._files(), key=lambda file: -file[1].st_mtime_ns)
        total = 0
        for digest, status in newest_first:
            total += status.st_size
            is_old = status.st_mtime < time.time() - _AGE_MAX_S
            if is_old or total > _TOTAL_BYTES_MAX or 0 < status.st_size < KEPT_BYTES_MIN:
                self.forget([digest])

    def _files(self) -> Iterator[tuple[Digest, os.stat_result]]:
        for path in self._root.glob("*/*"):
            with suppress(FileNotFoundError):  # written to the end meanwhile
                try:
                    yield Digest(f"{path.parent.name}:{path.name}"), path.lstat()
                except InvalidArgument:
                    path.unlink()  # nothing that was written here
