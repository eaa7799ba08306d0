"""Unpacks a tar from a container into local files. It is untrusted: no link is followed on the path to a name.

The rules are docker's (moby go-archive archive.go, Unpack): files belong to the user who copies; a directory never
replaces anything else, nor anything else a directory.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sampan.cli.copying.paths import Rename
from sampan.cli.errors import CliError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_XATTR = "SCHILY.xattr."
_PIECE_BYTES = 256 * 1024


class Chunks:
    """A file object for tarfile that reads from the pieces of a response."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        content, self._rest = self._rest[:size], self._rest[size:]
        return content


def unpack(pieces: Iterator[bytes], directory: str, rename: Rename) -> None:
    """Unpack the archive below `directory`, with names mapped by `rename`. Raises `CliError`."""
    root = os.open(directory, _DIRECTORY)
    try:
        with tarfile.open(fileobj=Chunks(pieces), mode="r|", errorlevel=1) as archive:  # type: ignore[call-overload]
            _Unpacker(root, directory, rename).unpack(archive)
    except tarfile.TarError as error:
        raise CliError(f"the archive is broken: {error}") from None
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        raise CliError(f"{name or directory}: {(error.strerror or str(error)).lower()}") from None
    finally:
        os.close(root)


class _Unpacker:
    def __init__(self, root: int, directory: str, rename: Rename) -> None:
        self._root = root
        self._directory = directory
        self._rename = rename
        self._times: list[tuple[list[str], float]] = []

    def unpack(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            steps = self._steps(self._rename(member.name))
            if steps:
                self._add(archive, member, steps)
        for steps, mtime in reversed(self._times):
            with self._parent(steps) as (parent, base):
                os.utime(base, (mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, steps: list[str]) -> None:
        with self._parent(steps) as (parent, base):
            self._make_room(parent, base, member, steps)
            if member.isdir():
                with suppress(FileExistsError):
                    os.mkdir(base, 0o700, dir_fd=parent)
                os.chmod(base, member.mode, dir_fd=parent)
                self._times.append((steps, member.mtime))
                return
            if member.isreg():
                self._write(archive, member, parent, base)
                return
            self._make(member, parent, base)
            if not member.islnk():
                os.utime(base, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _make_room(self, parent: int, base: str, member: tarfile.TarInfo, steps: list[str]) -> None:
        try:
            is_directory = stat.S_ISDIR(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return
        path = "/".join([self._directory.rstrip("/"), *steps])
        if is_directory and not member.isdir():
            raise CliError(f'cannot overwrite directory "{path}" with non-directory "{self._directory}"')
        if not is_directory and member.isdir():
            raise CliError(f'cannot overwrite non-directory "{path}" with directory "{self._directory}"')
        if not is_directory:
            os.unlink(base, dir_fd=parent)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, base: str) -> None:
        content = archive.extractfile(member)
        assert content is not None  # noqa: S101  # it is a regular file
        fd = os.open(base, _CREATE, 0o600, dir_fd=parent)
        with os.fdopen(fd, "wb", buffering=0) as file:
            while piece := content.read(_PIECE_BYTES):
                _write_all(fd, piece)
            file.truncate(member.size)
            for name, value in member.pax_headers.items():
                if name.startswith(_XATTR):
                    _set_xattr(fd, name.removeprefix(_XATTR), value)
            os.fchmod(fd, member.mode)
            os.utime(fd, (member.mtime, member.mtime))

    def _make(self, member: tarfile.TarInfo, parent: int, base: str) -> None:
        if member.issym():
            os.symlink(member.linkname, base, dir_fd=parent)
        elif member.islnk():
            with self._parent(self._steps(self._rename(member.linkname))) as (source, target):
                os.link(target, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        else:
            kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(base, kind | member.mode, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
            os.chmod(base, member.mode, dir_fd=parent)

    def _steps(self, name: str) -> list[str]:
        steps = [step for step in name.split("/") if step not in ("", ".")]
        if ".." in steps:
            raise CliError(f'"{name}" is outside of "{self._directory}"')
        return steps

    @contextmanager
    def _parent(self, steps: list[str]) -> Iterator[tuple[int, str]]:
        """The directory of a name, created if missing, and the name in it."""
        at = os.dup(self._root)
        try:
            for step in steps[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(step, 0o755, dir_fd=at)
                below = os.open(step, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            yield at, steps[-1]
        finally:
            os.close(at)


def _write_all(fd: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _set_xattr(fd: int, name: str, value: str) -> None:
    try:
        os.setxattr(fd, name, value.encode("utf-8", "surrogateescape"))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):  # missing privilege or file system support
            raise
