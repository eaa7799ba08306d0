"""A stream of blocks, read by the number of bytes wanted."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.errdefs import DataLoss


class Stream:
    """Reads from blocks of any size, copying only what crosses their boundaries."""

    __slots__ = ("_block", "_blocks", "_position")

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = b""
        self._position = 0

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises `DataLoss` if there are fewer."""
        start = self._position
        end = start + count
        if end <= len(self._block):
            self._position = end
            return self._block[start:end]
        return b"".join(self.pieces(count))

    def view(self, count: int) -> bytes | memoryview:
        """As `take`, but without copying if it is within one block."""
        start = self._position
        end = start + count
        if end <= len(self._block):
            self._position = end
            return memoryview(self._block)[start:end]
        return b"".join(self.pieces(count))

    def take_or_end(self, count: int) -> bytes:
        """As `take`, but `b""` at the end of the stream."""
        if self._position == len(self._block) and not self._next():
            return b""
        return self.take(count)

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes as they are in the blocks. Raises `DataLoss` if there are fewer."""
        while count:
            available = len(self._block) - self._position
            if not available:
                if not self._next():
                    raise DataLoss("unexpected EOF: the tar is cut off")
                continue
            start = self._position
            length = min(count, available)
            self._position = start + length
            count -= length
            yield memoryview(self._block)[start : start + length]

    def skip(self, count: int) -> None:
        """Skip `count` bytes. Raises `DataLoss` if there are fewer."""
        end = self._position + count
        if end <= len(self._block):
            self._position = end
            return
        for _ in self.pieces(count):
            pass

    def drain(self) -> None:
        """Skip everything that is left."""
        while self._next():
            pass

    def _next(self) -> bool:
        for block in self._blocks:
            if block:
                self._block, self._position = block, 0
                return True
        self._position = len(self._block)
        return False
