"""The content store: blobs by digest.

    blobs/sha256/<hex>    complete and verified
    ingest/<random>       being written; what a killed daemon left there is removed by `open`
    begun/                partial downloads of blobs (see `begun`)

A blob's digest is computed while it is written and checked before it gets its name, so a name is always correct.
Small documents are synced to disk before they get their name, layers are not: a power failure within seconds of a
pull may truncate a layer's blob, which `open` detects by its size.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound, SystemFailure
from sampan.images.begun import Begun

_DIRECTORY_MODE = 0o700


class ContentStore:
    """Stores blobs in one directory. Its methods block, and are thread-safe."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        self.begun = Begun(root / "begun")
        self._sizes: dict[Digest, int] = {}
        self._fresh: set[Digest] = set()
        self._writing: set[Path] = set()
        self._naming = threading.Lock()

    def open(self, expected: Mapping[Digest, int | None]) -> list[Digest]:
        """Look at what is there; keep only blobs of `expected` (sizes in bytes, `None` if unknown).

        Returns the digests of those that were removed.
        """
        for directory in (self._blobs, self._ingest):
            directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        for left in self._ingest.iterdir():
            left.unlink()
        dropped = []
        for digest, status in self._scan():
            if digest in expected and expected[digest] in (None, status.st_size):
                self._sizes[digest] = status.st_size
            else:
                self._discard(digest)
                dropped.append(digest)
        self.begun.forget(self._sizes)
        self.begun.open()
        return dropped

    def path(self, digest: Digest) -> Path:
        """The path of the blob, whether it exists or not."""
        return self._blobs / digest.algorithm / digest.hex

    def size_bytes(self, digest: Digest) -> int:
        """The size of a blob. Raises `NotFound`."""
        try:
            return self._sizes[digest]
        except KeyError:
            raise NotFound(f"blob {digest} is not here") from None

    def has_size(self, size_bytes: int) -> bool:
        """Whether there is a blob of exactly this size."""
        return size_bytes in self._sizes.values()

    def is_fresh(self, digest: Digest) -> bool:
        """Whether this process hashed the blob when writing it; one from an earlier daemon may have changed."""
        return digest in self._fresh

    def total_bytes(self) -> int:
        """The size of all blobs, including partial downloads."""
        return sum(self._sizes.values()) + self.begun.total_bytes()

    def read(self, digest: Digest, limit: int) -> bytes:
        """A whole small blob, verified again.

        Raises `NotFound`, `DataLoss` if it is larger than `limit` bytes or changed.
        """
        if self.size_bytes(digest) > limit:
            raise DataLoss(f"blob {digest} is larger than {limit} bytes")
        content = self.path(digest).read_bytes()
        if hashlib.new(digest.algorithm, content).hexdigest() != digest.hex:
            raise DataLoss(f"blob {digest} has changed on the disk")
        return content

    def put(self, content: bytes) -> Digest:
        """Store a small document, synced to disk."""
        digest = Digest.of(content)
        if digest not in self._sizes:
            with self.ingest() as ingest:
                ingest.write(content)
                ingest.commit(digest, durable=True)
        return digest

    def ingest(self, algorithm: str = "sha256") -> Ingest:
        """Start to write a blob; leaving its context without a commit discards it."""
        return Ingest(self, self._ingest / secrets.token_hex(16), algorithm)

    def resume(self, digest: Digest) -> Ingest:
        """Start to download the blob `digest`, or continue an earlier attempt, whose bytes `read_on` returns.

        While another ingest is downloading it, this one is independent.
        """
        path = self.begun.take(digest)
        if path is None:
            return self.ingest(digest.algorithm)
        try:
            return Ingest(self, path, digest.algorithm, digest)
        except OSError:
            self.begun.give_back(digest, keep=True)
            raise

    def remove(self, digest: Digest) -> None:
        """Remove a blob; no error if it is gone.

        One downloaded for an image that was not created becomes a partial download.
        """
        with self._naming:
            self._sizes.pop(digest, None)
            self._fresh.discard(digest)
            self._discard(digest)

    def throw_away(self, digest: Digest) -> None:
        """Remove a blob that does not match its digest, without keeping it as a partial download."""
        self.begun.forget([digest])
        self.remove(digest)

    def strays(self) -> list[Path]:
        """Files that are neither blobs of this store nor being written, so nobody will ever need them."""
        with self._naming:
            before = self._in_use()
            found = [*self._ingest.iterdir(), *self._blobs.glob("*/*")]
            # Files are created and discarded without the lock: those created since are only in use now.
            in_use = before | self._in_use()
        return [path for path in found if path not in in_use and path.exists()]

    def remove_stray(self, path: Path) -> bool:
        """Remove one of `strays`, unless it has become a blob in the meantime. Returns whether it is gone."""
        with self._naming:
            if path in self._in_use():
                return False
            path.unlink(missing_ok=True)
        return True

    def _in_use(self) -> set[Path]:
        return {*self._writing, *map(self.path, self._sizes)}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._sizes

    def __iter__(self) -> Iterator[Digest]:
        return iter(list(self._sizes))

    def _scan(self) -> Iterator[tuple[Digest, os.stat_result]]:
        for blob in self._blobs.glob("*/*"):
            try:
                yield Digest(f"{blob.parent.name}:{blob.name}"), blob.lstat()
            except InvalidArgument:
                blob.unlink()  # not a file of ours

    def _discard(self, digest: Digest) -> None:
        path = self.path(digest)
        with suppress(FileNotFoundError):
            if not self.begun.put_back(digest, path):
                path.unlink()

    def _adopt(self, written: Path, digest: Digest, size_bytes: int) -> None:
        path = self.path(digest)
        path.parent.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        with self._naming:
            written.rename(path)
            self._sizes[digest] = size_bytes
        self._fresh.add(digest)


class Ingest:
    """A blob being written to the file `path`, and its digest so far.

    If it is `begun`, it may continue an earlier download.
    """

    def __init__(self, store: ContentStore, path: Path, algorithm: str, begun: Digest | None = None) -> None:
        self._store = store
        self.path = path
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._begun = begun
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if begun else os.O_EXCL)
        store._writing.add(path)
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError:
            store._writing.discard(path)
            raise
        self.size_bytes = 0
        self._is_whole = False

    @property
    def digest(self) -> Digest:
        """The digest of what has been written."""
        return Digest(f"{self._algorithm}:{self._hash.hexdigest()}")

    def read_on(self, count: int) -> bytes:
        """The next `count` bytes left by an earlier attempt, fewer at their end; b"" when all were read."""
        content = os.read(self._fd, count)
        self._hash.update(content)
        self.size_bytes += len(content)
        return content

    def write(self, content: bytes | memoryview) -> None:
        """Append `content`. Raises `SystemFailure` if it can't be written."""
        self._hash.update(content)
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise SystemFailure(f"failed to write a blob: {os.strerror(error.errno or 0)}") from error
        self.size_bytes += len(content)

    def commit(self, expected: Digest | None = None, *, durable: bool = False) -> Digest:
        """Give the blob its name. Raises `DataLoss` if it is not `expected`."""
        digest = self.digest
        if expected is not None and digest != expected:
            raise DataLoss(f"filesystem layer verification failed for digest {expected}")
        if durable:
            os.fsync(self._fd)
        self._store._adopt(self.path, digest, self.size_bytes)
        if self._begun:
            self._store.begun.mark(digest)
            self._is_whole = True
        return digest

    def close(self, *, keep: bool = False) -> None:
        """Stop writing; an uncommitted blob is discarded, unless it is a download and should be kept."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self._begun:
            self._store.begun.give_back(self._begun, keep=keep or self._is_whole)
        else:
            self.path.unlink(missing_ok=True)
        self._store._writing.discard(self.path)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
