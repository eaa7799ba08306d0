"""Maps of sparse files in tars: GNU's old format, and its PAX formats 0.0, 0.1 and 1.0.

Source: GNU tar manual, Storing Sparse Files. As in Go's archive/tar, a map is refused unless it is in order, within
the file, and accounts for each byte stored.
"""

from __future__ import annotations

from sampan.errdefs import InvalidArgument
from sampan.images.layer.number import number
from sampan.images.layer.stream import Stream

NAME = b"GNU.sparse.name"
MAP = b"GNU.sparse.map"
MAP_PARTS = frozenset((b"GNU.sparse.offset", b"GNU.sparse.numbytes"))
_REAL_SIZE = (b"GNU.sparse.realsize", b"GNU.sparse.size")
_MAJOR = b"GNU.sparse.major"
_MINOR = b"GNU.sparse.minor"
SEGMENTS_MAX = 1 << 16
_DIGITS = 19
_BLOCK = 512

Segment = tuple[int, int]
"""Offset and length of a part of a file that is not a hole."""


def is_sparse(records: dict[bytes, bytes]) -> bool:
    """Whether an entry with these PAX records has a sparse map."""
    return MAP in records or (records.get(_MAJOR), records.get(_MINOR)) == (b"1", b"0")


def read_old(block: bytes, stream: Stream, stored: int) -> tuple[int, list[Segment]]:
    """Size and segments of an entry of type `S`: four segments in its header, more in the blocks after it."""
    numbers = _fields(block, 386, 4)
    size = number(block[483:495])
    extended = block[482]
    while extended:
        if len(numbers) > 2 * SEGMENTS_MAX:
            raise _malformed("has too many segments")
        block = stream.take(_BLOCK)
        numbers += _fields(block, 0, 21)
        extended = block[504]
    return size, _checked(numbers, size, stored)


def read_pax(records: dict[bytes, bytes], stream: Stream, stored: int) -> tuple[int, list[Segment], int]:
    """Size, segments, and how many of the `stored` bytes were the map, read from `stream` (format 1.0)."""
    size = _decimal(next((records[key] for key in _REAL_SIZE if key in records), b""))
    if MAP in records:
        text = records[MAP]
        return size, _checked([_decimal(part) for part in text.split(b",")] if text else [], size, stored), 0
    numbers, map_bytes = _read_map(stream, stored)
    return size, _checked(numbers, size, stored - map_bytes), map_bytes


def _read_map(stream: Stream, stored: int) -> tuple[list[int], int]:
    """Format 1.0: lines of decimal numbers before the content, their count first, padded to a block."""
    lines: list[bytes] = [b""]
    taken = 0
    wanted = 1
    while len(lines) <= wanted:
        if taken + _BLOCK > stored:
            raise _malformed("is cut off")
        block = stream.take(_BLOCK)
        taken += _BLOCK
        first, *more = block.split(b"\n")
        lines[-1] += first
        lines += more
        if len(lines[-1]) > _BLOCK:
            raise _malformed("has no line ends")
        if len(lines) > 1:
            wanted = 1 + 2 * _bounded(_decimal(lines[0]))
    return [_decimal(line) for line in lines[1:wanted]], taken


def _bounded(segments: int) -> int:
    if segments > SEGMENTS_MAX:
        raise _malformed("has too many segments")
    return segments


def _checked(numbers: list[int], size: int, stored: int) -> list[Segment]:
    if len(numbers) % 2 or len(numbers) > 2 * SEGMENTS_MAX:
        raise _malformed("has half a segment or too many")
    segments = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in segments:
        if offset < end or length < 0 or offset + length > size:
            raise _malformed("overlaps or goes beyond the file")
        end = offset + length
    if size < 0 or sum(length for _, length in segments) != stored:
        raise _malformed("does not account for the bytes stored")
    return segments


def _fields(block: bytes, start: int, count: int) -> list[int]:
    """Offsets and lengths, alternating, up to the first empty one."""
    numbers: list[int] = []
    for position in range(start, start + 24 * count, 24):
        if not block[position]:
            break
        numbers += number(block[position : position + 12]), number(block[position + 12 : position + 24])
    return numbers


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _DIGITS:
        raise _malformed("holds something else than numbers")
    return int(text)


def _malformed(what: str) -> InvalidArgument:
    return InvalidArgument(f"archive/tar: invalid tar header: a sparse map {what}")
