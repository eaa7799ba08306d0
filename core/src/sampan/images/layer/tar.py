"""Reads tar streams: ustar, PAX and GNU, including their sparse files.

Entries are interpreted as in Go's archive/tar, with which all registries' images are created and unpacked; where it
differs from GNU tar, a comment says so. The format: POSIX.1-2017 pax, and GNU tar manual, Basic Tar Format.
Everything read here may be hostile: each length is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NoReturn
from zlib import adler32

from sampan.errdefs import DataLoss, InvalidArgument
from sampan.images.layer import sparse
from sampan.images.layer.limits import Limits
from sampan.images.layer.number import number
from sampan.images.layer.stream import Stream

BLOCK = 512
NAME_BYTES = 4096  # PATH_MAX
EXTENSION_BYTES = 1 << 20  # limit for one PAX header or sparse map, as in Go's archive/tar (CVE-2026-32288)

REGULAR = b"0"
LINK = b"1"
SYMLINK = b"2"
CHAR = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
_OLD_REGULAR = b"\0"
_CONTIGUOUS = b"7"
_GNU_SPARSE = b"S"
PAX = b"x"
_PAX_GLOBAL = b"g"
_GNU_NAME = b"L"
_GNU_LINK = b"K"

_WITHOUT_CONTENT = frozenset((LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO))
_EXTENSIONS = frozenset((PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK))
_FIELDS = Struct("100s8s8s8s12s12s8sc100s8s80x155s8x4s")
_ZEROS = bytes(BLOCK)
XATTR = b"SCHILY.xattr."
_SECOND_NS = 1_000_000_000
_TIME_NS = 1 << 63


class Header:
    """One entry. `name` and `linkname` are bytes as in the tar; `kind` is one of the constants above.

    `size` is the file's, `stored` is how many bytes of content the tar has: they differ for a sparse file, whose
    `segments` say where the content goes.
    """

    __slots__ = (
        "device",
        "gid",
        "kind",
        "linkname",
        "mode",
        "mtime_ns",
        "name",
        "segments",
        "size",
        "stored",
        "uid",
        "xattrs",
    )

    def __init__(self, name: bytes, kind: bytes, size: int) -> None:
        self.name = name
        self.kind = kind
        self.size = size
        self.stored = size
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.mtime_ns = 0
        self.linkname = b""
        self.device = (0, 0)
        self.segments: list[sparse.Segment] | None = None
        self.xattrs: dict[bytes, bytes] | None = None


class TarReader:
    """Iterates over the entries of a tar. Between two steps, `stream` is at the content of the current entry.

    `stored` bytes of it may be read from `stream`; `consumed` must be called with their number. Raises `DataLoss` for
    a tar that is truncated, `InvalidArgument` for one that is malformed or exceeds `limits`.
    """

    def __init__(self, blocks: Iterator[bytes], limits: Limits) -> None:
        self.stream = Stream(blocks)
        self._limits = limits
        self._entries = 0
        self._files_bytes = 0
        self._unread = 0

    def __iter__(self) -> Iterator[Header]:
        return self

    def __next__(self) -> Header:
        if self._unread:
            self.stream.skip(self._unread)
            self._unread = 0
        extensions: _Extensions | None = None
        while True:
            block = self.stream.take_or_end(BLOCK)
            if not block or block == _ZEROS:
                self._end(block, extensions)
            header = _parse(block)
            if header.kind not in _EXTENSIONS:
                break
            extensions = self._extend(extensions or _Extensions(), header)
        if extensions is not None:
            _apply(extensions, header)
        if header.kind != REGULAR or extensions is not None:
            self._settle(header, block, extensions)
        self._unread = header.stored + (-header.stored & (BLOCK - 1))
        self._count(header)
        return header

    def consumed(self, count: int) -> None:
        """Report that `count` bytes of the current entry's content were read from `stream`."""
        self._unread -= count

    def _end(self, block: bytes, extensions: _Extensions | None) -> NoReturn:
        """A tar ends with two blocks of zeros or, from some builders, without them but between two entries."""
        if extensions is not None:
            raise DataLoss("unexpected EOF: the tar ends after an extended header")
        if block and (self.stream.take_or_end(BLOCK) or _ZEROS) != _ZEROS:
            raise InvalidArgument("archive/tar: invalid tar header: entries after a block of zeros")
        raise StopIteration

    def _extend(self, extensions: _Extensions, header: Header) -> _Extensions:
        if header.size > EXTENSION_BYTES:
            raise InvalidArgument(f"an extended tar header of {header.size} bytes is larger than {EXTENSION_BYTES}")
        content = self.stream.take(header.size)
        self.stream.skip(-header.size & (BLOCK - 1))
        if header.kind == _GNU_NAME:
            extensions.name = content.partition(b"\0")[0]
        elif header.kind == _GNU_LINK:
            extensions.linkname = content.partition(b"\0")[0]
        elif header.kind == PAX:
            extensions.records = parse_records(content)
        else:
            # Global headers are checked but ignored, as by dockerd and containerd; GNU tar would apply them.
            parse_records(content)
        return extensions

    def _settle(self, header: Header, block: bytes, extensions: _Extensions | None) -> None:
        """Normalize the kinds that mean a regular file, and read a sparse file's map."""
        if header.kind in _WITHOUT_CONTENT:
            header.size = header.stored = 0
            if header.kind in (CHAR, BLOCK_DEVICE):
                header.device = number(block[329:337]), number(block[337:345])
        elif header.kind == _GNU_SPARSE:
            header.kind = REGULAR
            header.size, header.segments = sparse.read_old(block, self.stream, header.stored)
        elif header.kind == _OLD_REGULAR and header.name.endswith(b"/"):
            header.kind = DIRECTORY
        elif header.kind in (REGULAR, _OLD_REGULAR, _CONTIGUOUS):
            header.kind = REGULAR
            if extensions is not None and sparse.is_sparse(extensions.records):
                self._read_sparse(header, extensions.records)
        else:
            raise InvalidArgument(f"{shown(header.name)}: unhandled tar header type {header.kind[0]}")

    def _read_sparse(self, header: Header, records: dict[bytes, bytes]) -> None:
        header.name = records.get(sparse.NAME) or header.name
        header.size, header.segments, map_bytes = sparse.read_pax(records, self.stream, header.stored)
        header.stored -= map_bytes
        _check_name(header.name)

    def _count(self, header: Header) -> None:
        self._entries += 1
        self._files_bytes += header.size
        if self._entries > self._limits.entries:
            raise InvalidArgument(f"the layer has more than {self._limits.entries} entries")
        if self._files_bytes > self._limits.total_bytes:
            raise InvalidArgument(
                f"{shown(header.name)}: the layer's files take more than {self._limits.total_bytes} bytes"
            )


class _Extensions:
    """What the special entries before an entry say about it."""

    __slots__ = ("linkname", "name", "records")

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.linkname: bytes | None = None
        self.records: dict[bytes, bytes] = {}


def parse_records(content: bytes) -> dict[bytes, bytes]:
    """The records of a PAX header: `length key=value` and a newline, with the length including all of it.

    The many records of a sparse map in format 0.0 are returned as the single one of format 0.1. Raises
    `InvalidArgument`.
    """
    records: dict[bytes, bytes] = {}
    sparse_map: list[bytes] = []
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + 8)
        digits = content[position:space]
        end = position + int(digits) if space > 0 and digits.isdigit() else 0
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not space + 1 < end <= len(content) or content[end - 1] != 0x0A or not key or not equals:
            raise InvalidArgument("archive/tar: invalid tar header: a PAX record is malformed")
        if key in sparse.MAP_PARTS:
            sparse_map.append(value)
        else:
            records[key] = value
        position = end
    if sparse_map:
        records[sparse.MAP] = b",".join(sparse_map)
    return records


def _parse(block: bytes) -> Header:
    name, mode, uid, gid, size, mtime, checksum, kind, linkname, magic, prefix, trailer = _FIELDS.unpack(block)
    # adler32 sums bytes at C's speed, modulo 65521; a header's sum is at most twice that. The checksum guards against
    # mistaking other data for a header, not against malice.
    total = (adler32(block) & 0xFFFF) - (adler32(checksum) & 0xFFFF) + 8 * 0x20
    if (total - number(checksum)) % 65521:
        _check_sum(block, checksum)
    name = name.partition(b"\0")[0]
    if prefix[0] and magic == b"ustar\x0000":
        # The program `star` stores times at the end of the prefix.
        prefix = prefix[:131] if trailer == b"tar\0" else prefix
        name = prefix.partition(b"\0")[0] + b"/" + name
    header = Header(name, kind, number(size))
    if header.size < 0:
        raise InvalidArgument(f"{shown(name)}: archive/tar: invalid tar header: a negative size")
    header.mode = number(mode) & 0o7777
    header.uid = number(uid)
    header.gid = number(gid)
    header.mtime_ns = _bound(number(mtime) * _SECOND_NS)
    if linkname[0]:
        header.linkname = linkname.partition(b"\0")[0]
    return header


def _check_sum(block: bytes, checksum: bytes) -> None:
    """Raise unless the exact checksum is right, with bytes as unsigned or, as in old tars, as signed."""
    unsigned = sum(block) - sum(checksum) + 8 * 0x20
    rest = block[:148] + block[156:]
    signed = unsigned - 256 * sum(byte > 127 for byte in rest)
    if number(checksum) not in (unsigned, signed):
        raise InvalidArgument("archive/tar: invalid tar header")


def _apply(extensions: _Extensions, header: Header) -> None:
    """Override an entry's own header by the entries before it; GNU names win over PAX, as in Go."""
    records = extensions.records
    header.name = extensions.name or records.get(b"path") or header.name
    header.linkname = extensions.linkname or records.get(b"linkpath") or header.linkname
    header.size = header.stored = _decimal(records, b"size", header.size)
    header.uid = _decimal(records, b"uid", header.uid)
    header.gid = _decimal(records, b"gid", header.gid)
    if mtime := records.get(b"mtime"):
        header.mtime_ns = _bound(_time_ns(mtime))
    header.xattrs = {key[len(XATTR) :]: value for key, value in records.items() if key.startswith(XATTR)} or None
    _check_name(header.name)
    _check_name(header.linkname)


def _check_name(name: bytes) -> None:
    if len(name) >= NAME_BYTES:
        raise InvalidArgument(f"{shown(name)}: a name of {len(name)} bytes is too long")
    if b"\0" in name:
        raise InvalidArgument(f"{shown(name)}: archive/tar: invalid tar header: a name with a zero byte in it")


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    value = records.get(key)
    if not value:
        return default
    if not value.isdigit() or len(value) > 19:
        raise InvalidArgument(f"archive/tar: invalid tar header: PAX record {shown(key)} is not a number")
    return int(value)


def _time_ns(text: bytes) -> int:
    """Nanoseconds of a PAX time such as `-1.5`; further digits are cut off."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    seconds = whole[1:] if negative else whole
    if not seconds.isdigit() or len(seconds) > 19 or not (fraction.isdigit() or not fraction):
        raise InvalidArgument("archive/tar: invalid tar header: a PAX time is malformed")
    time_ns = int(seconds) * _SECOND_NS + int(fraction[:9].ljust(9, b"0"))
    return -time_ns if negative else time_ns


def _bound(time_ns: int) -> int:
    """Times that no file system can store become the epoch, as in dockerd."""
    return time_ns if -_TIME_NS < time_ns < _TIME_NS else 0


def shown(name: bytes) -> str:
    """A name for a message: short, and printable whatever it contains."""
    return ascii(name[:200].decode("utf-8", "replace"))[1:-1]
