"""Packs a local file or tree into a tar, piece by piece, like docker's client."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator

from sampan.cli.copying.paths import Place, Rename, split_entry

_PIECE_BYTES = 256 * 1024
_BLOCK_BYTES = 512
_CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def pack(source: Place, rename: Rename) -> Iterator[bytes]:
    """The archive of `source`, with names mapped by `rename`. Sockets are left out. Raises `OSError`."""
    parent, base = split_entry(source.path)
    links: dict[tuple[int, int], str] = {}
    for path, name in _walk(os.path.join(parent, base), source.base or base):  # noqa: PTH118
        yield from _entry(path, rename(name), links)
    yield bytes(2 * _BLOCK_BYTES)


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    """A path and everything below it, sorted, with their names in the archive."""
    waiting = [(path, name)]
    while waiting:
        path, name = waiting.pop()
        yield path, name
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            below = sorted(os.listdir(path), key=os.fsencode, reverse=True)  # noqa: PTH208
            prefix = "" if name == "/" else name
            waiting += [(os.path.join(path, one), f"{prefix}/{one}") for one in below]  # noqa: PTH118


def _entry(path: str, name: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return
    entry = _header(name, kind, status)
    identity = status.st_dev, status.st_ino
    if status.st_nlink > 1 and not entry.isdir() and (first := links.setdefault(identity, name)) != name:
        entry.type, entry.linkname = tarfile.LNKTYPE, first
    elif entry.issym():
        entry.linkname = os.readlink(path)  # noqa: PTH115
    elif entry.isreg():
        yield from _file(path, entry)
        return
    yield _bytes_of(entry)


def _file(path: str, entry: tarfile.TarInfo) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        entry.size = left = os.fstat(file.fileno()).st_size
        try:
            value = os.getxattr(file.fileno(), _CAPABILITY)
            entry.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": value.decode("utf-8", "surrogateescape")}
        except OSError:
            pass  # it has none, or the file system doesn't support them
        yield _bytes_of(entry)
        while left:
            # A file that has been truncated is padded with zeros, as the header with its size is already written.
            piece = file.read(min(_PIECE_BYTES, left)) or bytes(min(_PIECE_BYTES, left))
            left -= len(piece)
            yield piece
    if rest := -entry.size % _BLOCK_BYTES:
        yield bytes(rest)


def _header(name: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.mtime = int(status.st_mtime)
    entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return entry


def _bytes_of(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
