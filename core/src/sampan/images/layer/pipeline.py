"""From a blob's bytes to its tar's: reads, verifies, decompresses and hashes in parallel.

Reading and decompressing, hashing the tar, and consuming the blocks run in separate threads; hashlib and the
decompressors release the GIL. If there is nothing to decompress or hash, everything runs in the consumer's thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from queue import Queue
from threading import Thread

from sampan.errdefs import DataLoss, InvalidArgument, SampanError
from sampan.images.layer.decompress import BLOCK_BYTES, decompress, sniff
from sampan.images.layer.limits import Limits

_QUEUED_BLOCKS = 16
GROWTH_ENDED, GROWTH_SHIFT = 1, 1  # an eventfd's lowest bit marks the end, those above it count bytes


class Pipeline:
    """The blob that comes in `chunks`.

    `expected` is its digest and `size` its size in bytes, if known. With `hashed`, the caller hashes it.
    """

    def __init__(
        self, chunks: Iterator[bytes], *, expected: str | None, size: int | None, limits: Limits, hashed: bool = False
    ) -> None:
        self._source = chunks
        self._hashed = hashed
        self._expected = expected
        self._size = size
        self._limits = limits
        self._blob = hashlib.new(expected.partition(":")[0] if expected else "sha256")
        self._tar = hashlib.sha256()
        self._diff_id: str | None = None
        self._blob_bytes = 0
        self._given_up = False
        self._ended = False
        self._direct: Iterator[bytes] | None = None
        self._blocks: Queue[bytes | BaseException | None] = Queue(_QUEUED_BLOCKS)
        self._unhashed: Queue[bytes | None] = Queue(_QUEUED_BLOCKS)
        self._hashing = Thread(target=self._hash, daemon=True)

    def start(self) -> None:
        """Start reading.

        Nothing is loaded from here on; what hashing needs, such as OpenSSL's configuration, already is. Raises
        `DataLoss` for a blob that is larger than `size` from the start.
        """
        chunks = self._chunks()
        compression, content = sniff(chunks)
        # The digest of a blob that is not compressed is its diff ID.
        hash_apart = compression is not None or self._blob.name != self._tar.name
        if not hash_apart:
            self._tar = self._blob
            self._diff_id = self._digest() if self._hashed else None
        if self._hashed and not hash_apart:
            # Nothing to decompress or hash: a thread that reads ahead costs the caches more than it gains.
            self._direct = content
            return
        self._hashing.start()
        blocks = decompress(compression, content)
        Thread(target=self._produce, args=(chunks, blocks, hash_apart), daemon=True).start()

    def blocks(self) -> Iterator[bytes]:
        """The blocks of the tar.

        Raises `DataLoss` if the blob is corrupt, `InvalidArgument` if it is a decompression bomb.
        """
        total = 0
        while block := self._next():
            total += len(block)
            _check_size(total, self._blob_bytes, self._limits)
            yield block

    def finish(self) -> tuple[str, str]:
        """The digest of the blob and the diff ID, once all blocks were taken.

        If the caller hashes the blob, the former is `expected` or "", and so is the latter if it is not compressed.
        Raises `DataLoss` if the blob does not have the expected digest or size.
        """
        if self._direct is None:
            self._hashing.join()
        self._verify()
        return self._digest(), f"sha256:{self._tar.hexdigest()}" if self._diff_id is None else self._diff_id

    def blame(self) -> None:
        """After a failure: raise `DataLoss` if the blob is not the expected one, which explains the failure.

        Reads the rest of the blob, unless its size is unknown.
        """
        if self._size is None:
            return
        self._given_up = True
        while not self._ended:
            with contextlib.suppress(SampanError):
                self._next()
        self._verify()

    def _next(self) -> bytes | None:
        block = self._blocks.get() if self._direct is None else next(self._direct, None)
        self._ended = not isinstance(block, bytes)
        if isinstance(block, BaseException):
            raise block
        return block

    def _verify(self) -> None:
        if self._size is not None and self._blob_bytes != self._size:
            raise self._wrong_size()
        if self._expected is not None and self._digest() != self._expected:
            raise DataLoss(f"filesystem layer verification failed for digest {self._expected}")

    def _wrong_size(self) -> DataLoss:
        came = "more" if self._blob_bytes > (self._size or 0) else str(self._blob_bytes)
        return DataLoss(f"failed size validation: {self._size} bytes were announced, {came} came")

    def _digest(self) -> str:
        if self._hashed:
            return self._expected or ""
        return f"{self._blob.name}:{self._blob.hexdigest()}"

    # Run in separate threads

    def _produce(self, chunks: Iterator[bytes], blocks: Iterator[bytes], hash_apart: bool) -> None:
        failure: BaseException | None = None
        try:
            self._hand_out(blocks, hash_apart)
        except BaseException as error:  # raised in the thread that takes the blocks
            failure = error
        if (failure or self._given_up) and self._size is not None:
            failure = self._read_rest(chunks) or failure
        self._unhashed.put(None)
        self._blocks.put(failure)

    def _hand_out(self, blocks: Iterator[bytes], hash_apart: bool) -> None:
        for block in blocks:
            if self._given_up:
                return
            if hash_apart:
                self._unhashed.put(block)
            self._blocks.put(block)

    def _read_rest(self, chunks: Iterator[bytes]) -> BaseException | None:
        try:
            for _ in chunks:
                pass
        except BaseException as error:  # as above
            return error
        return None

    def _chunks(self) -> Iterator[bytes]:
        for chunk in self._source:
            if not self._hashed:
                self._blob.update(chunk)
            self._blob_bytes += len(chunk)
            if self._size is not None and self._blob_bytes > self._size:
                raise self._wrong_size()
            yield chunk

    def _hash(self) -> None:
        while (block := self._unhashed.get()) is not None:
            self._tar.update(block)


def chunks_of(source: int) -> Iterator[bytes]:
    """What can be read from the file descriptor `source`."""
    while chunk := os.read(source, BLOCK_BYTES):
        yield chunk


def grown_chunks(source: int, growth: int) -> Iterator[bytes]:
    """The content of the file at descriptor `source`, as far as the eventfd `growth` says that it is written."""
    available, ended = 0, 0
    while True:
        while not available:
            if ended:
                return
            told = os.eventfd_read(growth)
            available, ended = told >> GROWTH_SHIFT, told & GROWTH_ENDED
        chunk = os.read(source, min(available, BLOCK_BYTES))
        available -= len(chunk)
        yield chunk


def unhashed_blocks(chunks: Iterator[bytes], limits: Limits) -> Iterator[bytes]:
    """The blocks of a tar, compressed or not, whose digest is not needed.

    Everything runs in the caller's thread: without hashing, threads would only wait for each other's GIL. Raises as
    `Pipeline.blocks` does.
    """
    total = read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for chunk in chunks:
            read += len(chunk)
            yield chunk

    compression, content = sniff(counted())
    for block in decompress(compression, content):
        total += len(block)
        _check_size(total, read, limits)
        yield block


def _check_size(total: int, blob_bytes: int, limits: Limits) -> None:
    if total > limits.total_bytes:
        raise InvalidArgument(f"the layer's tar is larger than {limits.total_bytes} bytes")
    if total > limits.ratio_from_bytes and total > limits.ratio * blob_bytes:
        raise InvalidArgument(f"the layer's tar is more than {limits.ratio} times as large as its blob")
