"""Builds tars entry by entry, including odd and broken ones that tarfile would not write."""

import io
import tarfile
from collections.abc import Iterator
from typing import Any

EPOCH_S = 1_700_000_000


def octal(number: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, number)


def block(
    name: bytes,
    kind: bytes = b"0",
    size: bytes | int = 0,
    *,
    mode: bytes | int = 0o644,
    uid: bytes | int = 0,
    gid: bytes | int = 0,
    mtime: bytes | int = EPOCH_S,
    linkname: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """One 512-byte header with a correct checksum. `rest` overwrites what follows the device numbers."""

    def number(value: bytes | int, width: int) -> bytes:
        return octal(value, width) if isinstance(value, int) else value.ljust(width, b"\0")

    fields = (
        name.ljust(100, b"\0"),
        number(mode, 8),
        number(uid, 8),
        number(gid, 8),
        number(size, 12),
        number(mtime, 12),
        b" " * 8,
        kind,
        linkname.ljust(100, b"\0"),
        magic,
        bytes(64),
        octal(device[0], 8),
        octal(device[1], 8),
        (rest or prefix.ljust(155, b"\0")).ljust(167, b"\0"),
    )
    header = b"".join(fields)
    assert len(header) == 512
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def entry(name: bytes, content: bytes = b"", kind: bytes = b"0", *, linkname: bytes = b"", **fields: Any) -> bytes:
    """One entry with its content, preceded by PAX headers if its names are too long for its own."""
    long = [(key, value) for key, value in ((b"path", name), (b"linkpath", linkname)) if len(value) > 100]
    before = pax(*long) if long else b""
    return before + block(name[:100], kind, len(content), linkname=linkname[:100], **fields) + padded(content)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def records(*pairs: tuple[bytes, bytes]) -> bytes:
    content = b""
    for key, value in pairs:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        content += b"%d %s=%s\n" % (length, key, value)
    return content


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return entry(b"PaxHeaders/0", records(*pairs), kind)


def directory(name: bytes, **fields: Any) -> bytes:
    return entry(name, kind=b"5", **{"mode": 0o755, **fields})


def symlink(name: bytes, target: bytes, **fields: Any) -> bytes:
    return entry(name, kind=b"2", linkname=target, **{"mode": 0o777, **fields})


def hard_link(name: bytes, target: bytes) -> bytes:
    return entry(name, kind=b"1", linkname=target)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(1024)


def in_blocks(content: bytes, size: int = 256 << 10) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def with_tarfile(format: int, *headers: tuple[tarfile.TarInfo, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as archive:
        for header, content in headers:
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return output.getvalue()
