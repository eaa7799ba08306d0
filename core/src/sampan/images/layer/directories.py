"""Finds and creates the directories for a layer's entries."""

from __future__ import annotations

import errno
import os
import stat

from sampan.errdefs import InvalidArgument
from sampan.images.layer.remove import remove
from sampan.images.layer.tar import shown
from sampan.syscalls.in_root import resolve
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_DEFAULT_ACL = b"system.posix_acl_default"
_IMPLICIT_MODE = 0o755
_OPEN = 256


class Directory:
    """An open directory. `path` is clean. If it `inherits`, what is created in it may get another owner or mode."""

    __slots__ = ("fd", "inherits", "path")

    def __init__(self, fd: int, path: bytes, inherits: bool) -> None:
        self.fd = fd
        self.path = path
        self.inherits = inherits


class Directories:
    """Directories below `root`, kept open because entries of one directory usually follow each other.

    `known` maps paths, as written in the tar, to them. Forgotten directories stay open until `close_stale`, so that
    an entry's directories last as long as the entry. `made` are the clean paths of directories created implicitly, up
    to `made_bytes_max` in total; `opaque` are those that hide what is below.
    """

    def __init__(self, root: int, *, inherit: bool, made_bytes_max: int) -> None:
        self.known: dict[bytes, Directory] = {}
        self.made: dict[bytes, None] = {}
        self.opaque: dict[bytes, None] = {}
        self._inherit = inherit
        self._made_bytes = 0
        self._made_bytes_max = made_bytes_max
        self._root = Directory(root, b"", inherit and _hands_down(root))
        self._stale: list[int] = []

    def enter(self, parent: bytes, name: bytes) -> Directory:
        """The directory `parent` of the entry `name`, created if missing; links are followed inside the root."""
        path = clean(parent, name)
        try:
            directory = self.find(path)
        except (FileNotFoundError, NotADirectoryError):
            directory = self._make_way(path)
        if parent not in self.known:
            self.remember(parent, os.dup(directory.fd), path=directory.path, inherits=directory.inherits)
        return directory

    def find(self, path: bytes) -> Directory:
        """The directory at a clean path. Raises `OSError` if it does not exist or is something else."""
        if not path:
            return self._root
        if directory := self.known.get(path):
            return directory
        fd = openat2(self._root.fd, path, _DIRECTORY, _RESOLVE)
        return self.remember(path, fd, inherits=bool(os.fstat(fd).st_mode & stat.S_ISGID))

    def open(self, path: bytes) -> int:
        """A new file descriptor of the directory at a clean path, whose last component can't be a symbolic link."""
        return openat2(self._root.fd, path, _DIRECTORY | os.O_NOFOLLOW, _RESOLVE)

    def remember(self, name: bytes, fd: int, *, inherits: bool, path: bytes | None = None) -> Directory:
        """Keep `fd`, which is ours from now on, as the directory `name`."""
        if len(self.known) >= _OPEN:
            self.forget()
        if replaced := self.known.get(name):
            self._stale.append(replaced.fd)
        inherits = inherits or (self._inherit and _hands_down(fd))
        directory = Directory(fd, name if path is None else path, inherits)
        self.known[name] = directory
        return directory

    def forget(self) -> None:
        """Forget all known paths."""
        self._stale += [directory.fd for directory in self.known.values()]
        self.known.clear()

    def close_stale(self) -> None:
        """Close forgotten directories."""
        while self._stale:
            os.close(self._stale.pop())

    def close(self) -> None:
        """Close everything except the root."""
        self.forget()
        self.close_stale()

    def _make_way(self, path: bytes) -> Directory:
        """Go to `path` step by step, creating what is missing, even behind dangling symbolic links."""
        return self.find(resolve(path, self._step))

    def _step(self, parent: bytes, name: bytes) -> bytes | None:
        """Make sure that the directory `name` exists; if it is a symbolic link, return its target instead."""
        fd = self.open(parent) if parent else os.dup(self._root.fd)
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return os.readlink(name, dir_fd=fd)
            if is_whiteout(status) and not self._inherit:
                remove(fd, name)
                self._make(fd, name, join(parent, name))
                self.opaque[join(parent, name)] = None
            elif not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(name))
        except FileNotFoundError:
            self._make(fd, name, join(parent, name))
        finally:
            os.close(fd)
        return None

    def _make(self, fd: int, name: bytes, path: bytes) -> None:
        self._made_bytes += len(path) + 1
        if self._made_bytes > self._made_bytes_max:
            raise InvalidArgument(f"{shown(path)}: the layer has no entries for too many directories")
        os.mkdir(name, _IMPLICIT_MODE, dir_fd=fd)
        if self._inherit or os.fstat(fd).st_mode & stat.S_ISGID:
            os.chown(name, 0, 0, dir_fd=fd, follow_symlinks=False)
            os.chmod(name, _IMPLICIT_MODE, dir_fd=fd)
        self.made[path] = None


def _hands_down(fd: int) -> bool:
    """Whether what is created in the directory inherits its group or ACL."""
    if os.fstat(fd).st_mode & stat.S_ISGID:
        return True
    try:
        os.getxattr(fd, _DEFAULT_ACL)
    except OSError:
        return False  # it has none, or the file system does not support it
    return True


def clean(name: bytes, entry: bytes | None = None) -> bytes:
    """A name without leading slash, `.`, `..` and double slashes; empty for the root.

    Raises `InvalidArgument` for one that leads outside; the message shows `entry` if the name is only a part of it.
    """
    steps: list[bytes] = []
    for step in name.split(b"/"):
        if step == b"..":
            if not steps:
                raise InvalidArgument(f'invalid entry name "{shown(entry or name)}"')
            steps.pop()
        elif step not in (b"", b"."):
            steps.append(step)
    return b"/".join(steps)


def join(parent: bytes, base: bytes) -> bytes:
    """The path of `base` in the directory `parent`, which is empty for the root."""
    return parent + b"/" + base if parent else base


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs's mark for a deleted file: a 0/0 character device."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
