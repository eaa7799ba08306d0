"""Decompresses a blob as it comes in; the compression is detected from its first bytes.

The registry's media type is ignored: it is sometimes wrong, and dockerd uses the bytes as well (moby/go-archive
compression/compression_detect.go).
"""

from __future__ import annotations

import bz2
import lzma
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

from sampan.errdefs import DataLoss

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

if TYPE_CHECKING:
    from typing import Protocol

    class Decompressor(Protocol):
        """The common interface of bz2, lzma, isal and zstd: one member, frame or stream of a file with several."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, content: bytes, max_length: int) -> bytes: ...


BLOCK_BYTES = 256 << 10
MAGIC_BYTES = 6
_XZ_MEMORY_BYTES = 256 << 20
_ISAL_ERROR: type[Exception] = IsalError  # type: ignore[assignment]  # its stub has an instance instead of a class
_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, _ISAL_ERROR, ZstdError, lzma.LZMAError)


def _gzip() -> Decompressor:
    decompressor: Decompressor = IgzipDecompressor(flag=DECOMP_GZIP)
    return decompressor


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


def _is_zstd(magic: bytes) -> bool:
    """Whether it is a frame, or a skippable one (RFC 8878, 3.1.1 and 3.1.2)."""
    return magic.startswith(b"\x28\xb5\x2f\xfd") or (magic[1:4] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50)


_FORMATS: dict[str, tuple[Callable[[bytes], bool], Callable[[], Decompressor]]] = {
    "gzip": (lambda magic: magic.startswith(b"\x1f\x8b\x08"), _gzip),
    "zstd": (_is_zstd, ZstdDecompressor),
    "bzip2": (lambda magic: magic.startswith(b"BZh"), bz2.BZ2Decompressor),
    "xz": (lambda magic: magic.startswith(b"\xfd7zXZ\x00"), _xz),
}


def sniff(chunks: Iterator[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """A blob's compression (`gzip`, `zstd`, `bzip2`, `xz`, or `None`), and all its chunks again."""
    head = b""
    while len(head) < MAGIC_BYTES and (chunk := next(chunks, b"")):
        head += chunk
    return compression_of(head), chain((head,) if head else (), chunks)


def compression_of(head: bytes) -> str | None:
    """A blob's compression, detected from its first `MAGIC_BYTES`."""
    return next((name for name, (matches, _) in _FORMATS.items() if matches(head)), None)


def decompress(compression: str | None, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The decompressed bytes of a blob, in blocks of at most `BLOCK_BYTES` (its chunks if it is not compressed).

    Reads no more than needed for the next block. Raises `DataLoss` for a blob that is truncated or corrupt.
    """
    return _members(compression, chunks) if compression else chunks


def _members(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    matches, new = _FORMATS[name]
    content = next(chunks, b"")
    while content:
        if not matches(content):
            raise DataLoss(f"{name}: invalid header: there is something else behind the compressed data")
        decompressor = new()
        yield from _member(name, decompressor, content, chunks)
        content = decompressor.unused_data
        while len(content) < MAGIC_BYTES and (chunk := next(chunks, b"")):
            content += chunk


def _member(name: str, decompressor: Decompressor, content: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = decompressor.decompress(content, BLOCK_BYTES)
        except _ERRORS as error:
            raise DataLoss(f"{name}: {error}") from error
        if block:
            yield block
        if decompressor.eof:
            return
        content = b""
        if decompressor.needs_input and not (content := next(chunks, b"")):
            raise DataLoss(f"{name}: unexpected EOF")
