"""Packs files into a tar: a tree, or a container's changes.

It is made for trees that others, possibly hostile, keep changing: directories are walked by descriptor, no symbolic
link is followed, and no device or fifo is opened. What disappears in the meantime is omitted. Entries are sorted, so
the same tree gives the same bytes. Sockets are omitted, as by dockerd, since tars can't contain them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sampan.images.layer import tar
from sampan.images.layer.extract import OVERLAY_XATTRS, WHITEOUT
from sampan.images.layer.remove import Identity, identity
from sampan.images.layer.sparse import SEGMENTS_MAX, Segment
from sampan.images.layer.tar_writer import Entry, TarWriter
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
DELETED = b"-"
"""The prefix of a path in a list of changes; paths end with a zero byte."""
PRESENT = b"+"
_NOFOLLOW = os.O_NOFOLLOW | os.O_NONBLOCK  # opening a fifo would block, and opening a device may have effects
_SECOND_NS = 1_000_000_000
_SECTOR_BYTES = 512  # the unit of st_blocks (stat(3type))
_HOLES_BYTES = 64 << 10  # smaller holes are not worth a sparse entry
_CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFREG: tar.REGULAR,
    stat.S_IFDIR: tar.DIRECTORY,
    stat.S_IFLNK: tar.SYMLINK,
    stat.S_IFCHR: tar.CHAR,
    stat.S_IFBLK: tar.BLOCK_DEVICE,
    stat.S_IFIFO: tar.FIFO,
}
# What a concurrent change by others may cause.
_CHANGED = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE))


class _Level(NamedTuple):
    """A directory that is being walked, and its remaining names."""

    fd: int
    prefix: bytes
    names: Iterator[bytes]


class Packer:
    """Packs to the file descriptor `output`.

    `exact` archives keep everything that a tar can contain. Others are like dockerd's `cp`: times in whole seconds,
    and only capabilities of the extended attributes, as the client's file system may not support others.
    """

    def __init__(self, output: int, *, exact: bool) -> None:
        self._tar = TarWriter(output)
        self._exact = exact
        self._links: dict[Identity, bytes] = {}

    def add_tree(self, parent: int, base: bytes, name: bytes) -> None:
        """Add `base` in the directory `parent` as `name`, with everything below. Raises `OSError` if it is missing.

        The name `/` is for a root: its content then gets names with a leading slash, as in dockerd.
        """
        status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        below = self._add(parent, base, name, status)
        if below is not None:
            self._walk(below, b"/" if name == b"/" else name + b"/")

    def add_content(self, directory: int) -> None:
        """Add the content of `directory`, but not itself."""
        self._walk(os.dup(directory), b"")

    def add_changes(self, root: int, changes: Iterable[tuple[bytes, bool]]) -> None:
        """Add only the paths in `changes`, clean and relative to `root`; deleted ones as whiteouts."""
        at, fd = b"", os.dup(root)
        try:
            for path, deleted in changes:
                parent, _, base = path.rpartition(b"/")
                if deleted:
                    self._tar.add(Entry(path[: len(path) - len(base)] + WHITEOUT + base, tar.REGULAR))
                    continue
                try:
                    if parent != at:
                        below = openat2(root, parent or b".", DIRECTORY, RESOLVE)
                        os.close(fd)
                        at, fd = parent, below
                    self._add_alone(fd, base, path)
                except OSError as error:
                    _pass_over_change(error)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _walk(self, directory: int, prefix: bytes) -> None:
        """Depth first, each directory before its content, with an explicit stack, as trees may exceed Python's."""
        levels = [_Level(directory, prefix, _names(directory))]
        try:
            while levels:
                parent, prefix, names = levels[-1]
                name = next(names, None)
                if name is None:
                    os.close(levels.pop().fd)
                elif (below := self._add_if_there(parent, name, prefix + name)) is not None:
                    levels.append(_Level(below, prefix + name + b"/", _names(below)))
        finally:
            for level in levels:
                os.close(level.fd)

    def _add_if_there(self, parent: int, base: bytes, name: bytes) -> int | None:
        try:
            return self._add(parent, base, name, os.stat(base, dir_fd=parent, follow_symlinks=False))
        except OSError as error:
            _pass_over_change(error)
        return None

    def _add_alone(self, parent: int, base: bytes, name: bytes) -> None:
        below = self._add(parent, base, name, os.stat(base, dir_fd=parent, follow_symlinks=False))
        if below is not None:
            os.close(below)

    def _add(self, parent: int, base: bytes, name: bytes, status: os.stat_result) -> int | None:
        """Write one entry; if it is a directory, return it to continue there."""
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind == tar.REGULAR:
            self._add_file(parent, base, name)
        elif kind == tar.DIRECTORY:
            return self._add_directory(parent, base, name)
        elif kind is not None and not self._add_link(name, status):
            target = os.readlink(base, dir_fd=parent) if kind == tar.SYMLINK else b""
            xattrs = self._xattrs_at(parent, base) if self._exact and kind != tar.SYMLINK else {}
            self._tar.add(self._entry(name, kind, status)._replace(linkname=target, xattrs=xattrs))
            self._remember(name, status)
        return None

    def _add_directory(self, parent: int, base: bytes, name: bytes) -> int:
        fd = os.open(base, DIRECTORY | _NOFOLLOW, dir_fd=parent)
        try:
            entry = self._entry(name if name == b"/" else name + b"/", tar.DIRECTORY, os.fstat(fd))
            self._tar.add(entry._replace(xattrs=self._xattrs(fd)))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _add_file(self, parent: int, base: bytes, name: bytes) -> None:
        fd = os.open(base, os.O_RDONLY | _NOFOLLOW, dir_fd=parent)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or self._add_link(name, status):
                return
            entry = self._entry(name, tar.REGULAR, status)._replace(size=status.st_size, xattrs=self._xattrs(fd))
            self._tar.add_file(entry, fd, _segments(fd, status))
            self._remember(name, status)
        finally:
            os.close(fd)

    def _add_link(self, name: bytes, status: os.stat_result) -> bool:
        """Write a hard link if the file is already in the archive."""
        first = self._links.get(identity(status)) if status.st_nlink > 1 else None
        if first is None:
            return False
        self._tar.add(self._entry(name, tar.LINK, status)._replace(linkname=first))
        return True

    def _remember(self, name: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            self._links[identity(status)] = name

    def _entry(self, name: bytes, kind: bytes, status: os.stat_result) -> Entry:
        time_ns = status.st_mtime_ns
        return Entry(
            name,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=time_ns if self._exact else time_ns // _SECOND_NS * _SECOND_NS,
            device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
        )

    def _xattrs(self, fd: int) -> dict[bytes, bytes]:
        try:
            names = os.listxattr(fd)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            return {}
        return {os.fsencode(name): os.getxattr(fd, name) for name in names if self._is_wanted(name)}

    def _xattrs_at(self, parent: int, base: bytes) -> dict[bytes, bytes]:
        """The extended attributes of what can't be opened."""
        os.fchdir(parent)  # no syscall before Linux 6.13 accepts a directory here
        names = os.listxattr(base, follow_symlinks=False)
        wanted = [name for name in names if self._is_wanted(name)]
        return {os.fsencode(name): os.getxattr(base, name, follow_symlinks=False) for name in wanted}

    def _is_wanted(self, name: str) -> bool:
        """Labels of the host's security modules are left out."""
        if name == _CAPABILITY or not self._exact:
            return name == _CAPABILITY
        return not name.startswith(("security.", OVERLAY_XATTRS.decode()))


def pack_path(packer: Packer, root: int, path: bytes, name: bytes) -> None:
    """Add `path` in `root` as `name`.

    A path that ends in `/` or `/.` means a directory, or a symbolic link to one.
    """
    parent, _, base = path.rpartition(b"/")
    fd = openat2(root, parent or b"/", DIRECTORY, RESOLVE)
    try:
        packer.add_tree(fd, base or b".", name)
    finally:
        os.close(fd)


def _names(fd: int) -> Iterator[bytes]:
    return iter(sorted(map(os.fsencode, os.listdir(fd))))


def _segments(fd: int, status: os.stat_result) -> list[Segment] | None:
    """The segments of a file with content, if it has holes that are worth omitting."""
    if status.st_size - status.st_blocks * _SECTOR_BYTES < _HOLES_BYTES:
        return None
    segments: list[Segment] = []
    position = 0
    try:
        while len(segments) < SEGMENTS_MAX:
            start = os.lseek(fd, position, os.SEEK_DATA)
            position = min(os.lseek(fd, start, os.SEEK_HOLE), status.st_size)
            if start >= status.st_size:
                return segments
            segments.append((start, position - start))
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole up to the end
            return segments
        if error.errno != errno.EINVAL:
            raise
    return None


def _pass_over_change(error: OSError) -> None:
    if error.errno not in _CHANGED:
        raise error
