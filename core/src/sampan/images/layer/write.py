"""Writes layers: the tar of a directory tree, the same bytes for the same tree.

Entries are sorted and carry no user names; formats are PAX where ustar has no room. Sockets are left out, as by
dockerd: no tar has them.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sampan.errdefs import SystemFailure
from sampan.images.layer.directories import is_whiteout
from sampan.images.layer.extract import OPAQUE, OVERLAY_XATTRS, WHITEOUT

_OVERLAY = OVERLAY_XATTRS.decode()
_OPAQUE = _OVERLAY + "opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_SECOND_NS = 1_000_000_000
_KINDS = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def write_layer(directory: Path, output: IO[bytes], *, overlay: bool = False) -> None:
    """Write the tree below `directory` as a tar to `output`, which need not be seekable.

    With `overlay`, overlayfs' whiteouts and opaque directories become those of a layer. Follows no link, but is
    for trees at rest: raises `SystemFailure` if a file shrinks meanwhile, `OSError` if one can't be read.
    """
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 20) as tar:
        _Writer(tar, overlay).write_tree(directory)


class _Writer:
    def __init__(self, tar: tarfile.TarFile, overlay: bool) -> None:
        self._tar = tar
        self._overlay = overlay
        self._links: dict[tuple[int, int], str] = {}

    def write_tree(self, directory: Path) -> None:
        """Depth first, each directory before what is in it, by an own stack: trees may be deeper than Python's."""
        root = os.open(directory, _DIRECTORY)
        levels = [(root, "", self._names(root))]
        try:
            while levels:
                parent, prefix, names = levels[-1]
                name = next(names, None)
                if name is None:
                    os.close(levels.pop()[0])
                elif (fd := self._write(parent, prefix, name)) is not None:
                    levels.append((fd, f"{prefix}{name}/", self._names(fd)))
                    self._write_opaque(fd, f"{prefix}{name}/")
        finally:
            for fd, _, _ in levels:
                os.close(fd)

    @staticmethod
    def _names(fd: int) -> Iterator[str]:
        return iter(sorted(os.listdir(fd), key=os.fsencode))

    def _write(self, parent: int, prefix: str, name: str) -> int | None:
        """Write one entry; answer the directory to go on in, if it is one."""
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        path = prefix + name
        if self._overlay and is_whiteout(status):
            self._tar.addfile(tarfile.TarInfo(f"{prefix}{WHITEOUT.decode()}{name}"))
            return None
        if stat.S_IFMT(status.st_mode) not in _KINDS:
            return None
        entry = _entry(path, status)
        if status.st_nlink > 1 and not entry.isdir():
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                entry.type, entry.linkname = tarfile.LNKTYPE, first
                self._tar.addfile(entry)
                return None
        if entry.issym():
            entry.linkname = os.readlink(name, dir_fd=parent)
        if entry.isdir():
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            self._set_xattrs(entry, fd)
            self._tar.addfile(entry)
            return fd
        if entry.isreg():
            self._write_file(parent, name, entry)
        else:
            self._tar.addfile(entry)
        return None

    def _write_file(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        with os.fdopen(fd, "rb", buffering=0) as file:
            self._set_xattrs(entry, fd)
            entry.size = os.fstat(fd).st_size
            try:
                self._tar.addfile(entry, file)
            except OSError as error:
                raise SystemFailure(f"/{entry.name}: {str(error.strerror or error).lower()}") from error

    def _write_opaque(self, fd: int, prefix: str) -> None:
        if self._overlay and _OPAQUE in os.listxattr(fd):
            self._tar.addfile(tarfile.TarInfo(prefix + OPAQUE.decode()))

    def _set_xattrs(self, entry: tarfile.TarInfo, fd: int) -> None:
        records = dict(entry.pax_headers)
        for name in sorted(os.listxattr(fd)):
            if not (self._overlay and name.startswith(_OVERLAY)) and name != "security.selinux":
                value = os.getxattr(fd, name)
                # tarfile turns these escapes into the bytes again.
                records[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
        entry.pax_headers = records


def _entry(path: str, status: os.stat_result) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type = _KINDS[stat.S_IFMT(status.st_mode)]
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid, status.st_gid
    entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    seconds, fraction = divmod(status.st_mtime_ns, _SECOND_NS)
    entry.mtime = seconds
    if fraction or seconds < 0:
        entry.pax_headers = {"mtime": _pax_time(status.st_mtime_ns)}
    return entry


def _pax_time(time_ns: int) -> str:
    seconds, fraction = divmod(abs(time_ns), _SECOND_NS)
    return f"{'-' if time_ns < 0 else ''}{seconds}.{fraction:09}"
