"""Writes a layer's entries to a directory.

The kernel resolves every path inside that directory (`openat2` with `RESOLVE_IN_ROOT`): symbolic links in the path of
an entry are followed, as by dockerd and umoci, and never lead outside, however they are made. The last component of a
path is never followed. So hostile layers are harmless here even outside of the confined worker process, which is the
second line of defence.

The rules are dockerd's for overlay2 (moby/go-archive, archive.go `Unpack` and `createTarFile`), except that whiteouts
follow the OCI image-spec (layer.md, Whiteouts): they hide what is below, never what their own layer contains, in
whatever order the two come.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sampan import errdefs
from sampan.errdefs import InvalidArgument, NotFound, Unsupported
from sampan.images.layer import tar
from sampan.images.layer.directories import Directories, Directory, clean, is_whiteout, join
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.remove import Identity, identity, remove
from sampan.images.layer.tar import Header, TarReader, shown

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
OVERLAY_XATTRS = b"trusted.overlay."
_CAPABILITY = b"security.capability"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_SMALL_BYTES = 256 << 10
_NO_ID = 0xFFFFFFFF  # means "unchanged" to chown(2)
_TOLD_BESIDE_BYTES = 64  # an attribute's share of the answer in addition to itself
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
# Kernel errors for which only the layer can be blamed.
_LAYERS_FAULT = frozenset(
    (
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EMLINK,
        errno.ERANGE,
        errno.E2BIG,
        errno.ENOENT,  # a link to nothing, or one whose target it replaces
    )
)


class Extracted:
    """What was written. Paths are relative to the directory.

    `size_bytes` is the size of all files and links, as Docker counts a layer's; `inodes` is how many were created.
    `implicit` are the directories that had to be created although the layer has no entry for them (see `parents`).
    `trusted` are the extended attributes for which the worker lacks the privilege: path, name, value.
    """

    __slots__ = ("implicit", "inodes", "size_bytes", "trusted")

    def __init__(self) -> None:
        self.size_bytes = 0
        self.inodes = 0
        self.implicit: tuple[bytes, ...] = ()
        self.trusted: list[tuple[bytes, bytes, bytes]] = []


class Placement(NamedTuple):
    """Where and how an archive that is not a layer is written.

    Its names are those of files below `base`, a clean path in the root; symbolic links in the path lead to places in
    the root, even outside of `base`. Everything belongs to `owner`, if given, whatever the archive says. With
    `keep_kinds`, no directory replaces something else, and nothing else replaces a directory.
    """

    base: bytes = b""
    owner: tuple[int, int] | None = None
    keep_kinds: bool = False


_WHOLE = Placement()


def extract(
    blocks: Iterator[bytes], root: int, whiteouts: WhiteoutFormat, limits: Limits, placement: Placement = _WHOLE
) -> Extracted:
    """Write the layer whose tar comes in `blocks` below the open directory `root`.

    Changes the process's umask temporarily, and possibly its working directory: it is meant for a separate process.
    Raises `DataLoss`, `InvalidArgument` (the layer is invalid), `NotFound` (a hard link to what this layer does not
    contain; it may be in a layer below), or `SystemFailure` (full disk and the like).
    """
    umask = os.umask(0)
    try:
        return _Extractor(root, whiteouts, TarReader(blocks, limits), placement, limits.told_bytes).run()
    finally:
        os.umask(umask)


class _Extractor:
    def __init__(
        self, root: int, whiteouts: WhiteoutFormat, reader: TarReader, placement: Placement, told_bytes: int
    ) -> None:
        self._overlay = whiteouts is WhiteoutFormat.OVERLAY
        self._literal = whiteouts is WhiteoutFormat.LITERAL
        self._place = placement
        self._reader = reader
        self._directories = Directories(root, inherit=not self._overlay, made_bytes_max=told_bytes)
        self._untold_bytes = told_bytes
        self._known = self._directories.known.get
        self._extracted = Extracted()
        self._explicit: dict[bytes, Header] = {}
        self._whiteouts: dict[bytes, None] = {}
        self._own: set[Identity] = set()
        self._make: dict[bytes, Callable[[Directory, bytes, Header], None]] = {
            tar.LINK: self._link,
            tar.SYMLINK: self._symlink,
            tar.CHAR: self._node,
            tar.BLOCK_DEVICE: self._node,
            tar.FIFO: self._node,
            tar.DIRECTORY: self._directory,
        }

    def run(self) -> Extracted:
        """Write every entry, and then what must come last."""
        header: Header | None = None
        try:
            for header in self._reader:
                self._add(header)
            header = None
            self._finish()
        except OSError as error:
            raise _failure(error, self._placed(header.name) if header else b"finishing") from error
        finally:
            self._directories.close()
        made = self._directories.made
        self._extracted.inodes += len(made)
        self._extracted.implicit = tuple(path for path in made if path not in self._explicit)
        return self._extracted

    def _add(self, header: Header) -> None:
        self._directories.close_stale()
        name = self._placed(header.name)
        parent, _, base = (name[:-1] if name.endswith(b"/") else name).rpartition(b"/")
        if base in (b"", b".", b".."):
            cleaned = clean(name)
            if cleaned == self._place.base:
                return  # the root itself, which dockerd and containerd leave unchanged
            parent, _, base = cleaned.rpartition(b"/")
        if self._place.owner:
            header.uid, header.gid = self._place.owner
        if base.startswith(WHITEOUT) and not self._literal:
            self._whiteout(self._known(parent) or self._directories.enter(parent, name), base)
            return
        directory = self._known(parent) or self._directories.enter(parent, name)
        if header.uid or header.gid:
            _check_owner(header)
        if header.kind == tar.REGULAR:
            self._regular(directory, base, header)
        else:
            self._make[header.kind](directory, base, header)
        if not self._overlay and not self._literal:
            self._own.add(identity(os.stat(base, dir_fd=directory.fd, follow_symlinks=False)))

    def _placed(self, name: bytes) -> bytes:
        """Translate a name in the archive to one in the root.

        Raises `InvalidArgument` if it leads outside of its place.
        """
        if not self._place.base:
            return name
        if b".." in name:
            try:
                clean(name)
            except InvalidArgument:
                raise InvalidArgument(f'"{shown(name)}" is outside of "{self._shown_base()}"') from None
        return join(self._place.base, name or b".")

    # Each kind of entry

    def _regular(self, directory: Directory, base: bytes, header: Header) -> None:
        mode = header.mode
        try:
            fd = os.open(base, _CREATE, mode & 0o777, dir_fd=directory.fd)
        except FileExistsError:
            self._clear(directory, base)
            fd = os.open(base, _CREATE, mode & 0o777, dir_fd=directory.fd)
        try:
            size = header.stored
            if header.segments is not None:
                self._write_sparse(fd, header)
            elif 0 < size <= _SMALL_BYTES:
                content = self._reader.stream.view(size)
                self._reader.consumed(size)
                if (written := os.write(fd, content)) != size:
                    _write_all(fd, memoryview(content)[written:])  # raises the error
            elif size:
                self._write_pieces(fd, size)
            if header.uid or header.gid or directory.inherits:
                os.fchown(fd, header.uid, header.gid)
            if mode > 0o777 or directory.inherits:
                os.fchmod(fd, mode)  # chown clears these bits
            if header.xattrs:
                self._set_xattrs(fd, join(directory.path, base), header)
            os.utime(fd, ns=(header.mtime_ns, header.mtime_ns))
        finally:
            os.close(fd)
        self._extracted.size_bytes += header.size
        self._extracted.inodes += 1

    def _write_pieces(self, fd: int, size: int) -> None:
        for piece in self._reader.stream.pieces(size):
            self._reader.consumed(len(piece))
            _write_all(fd, piece)

    def _write_sparse(self, fd: int, header: Header) -> None:
        for offset, length in header.segments or ():
            os.lseek(fd, offset, os.SEEK_SET)
            self._write_pieces(fd, length)
        os.ftruncate(fd, header.size)

    def _directory(self, parent: Directory, base: bytes, header: Header) -> None:
        path = join(parent.path, base)
        is_owned = parent.inherits
        try:
            os.mkdir(base, header.mode & 0o777, dir_fd=parent.fd)
            self._extracted.inodes += 1
        except FileExistsError:
            self._merge_directory(parent, base)
            is_owned = True
        fd = os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd)
        # The open directory is the one that the next entries are created in.
        self._directories.remember(path, fd, inherits=bool(header.mode & stat.S_ISGID))
        if header.uid or header.gid or is_owned:
            os.fchown(fd, header.uid, header.gid)
        if header.mode > 0o777 or is_owned:
            os.fchmod(fd, header.mode)
        self._explicit[path] = header

    def _merge_directory(self, parent: Directory, base: bytes) -> None:
        """Keep an existing directory; replace anything else by one that hides what is below."""
        status = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return
        if self._place.keep_kinds:
            path = shown(join(parent.path, base))
            raise InvalidArgument(f'cannot overwrite non-directory "/{path}" with directory "{self._shown_base()}"')
        self._clear(parent, base)
        os.mkdir(base, 0o700, dir_fd=parent.fd)
        self._extracted.inodes += 1
        if is_whiteout(status):
            self._directories.opaque[join(parent.path, base)] = None

    def _symlink(self, directory: Directory, base: bytes, header: Header) -> None:
        self._extracted.size_bytes += len(header.linkname)
        self._create(directory, base, lambda: os.symlink(header.linkname, base, dir_fd=directory.fd))
        self._set_metadata(directory, base, header)

    def _node(self, directory: Directory, base: bytes, header: Header) -> None:
        major, minor = header.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise InvalidArgument(f"{shown(header.name)}: there is no device {major}:{minor}")
        kind = {tar.CHAR: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}[header.kind]
        device = os.makedev(major, minor)
        self._create(directory, base, lambda: os.mknod(base, kind | header.mode, device, dir_fd=directory.fd))
        self._set_metadata(directory, base, header)
        if header.mode & _SPECIAL_BITS or directory.inherits:
            os.chmod(base, header.mode, dir_fd=directory.fd)

    def _link(self, directory: Directory, base: bytes, header: Header) -> None:
        """A hard link. Owner, mode and time are the file's, whatever its own header says."""
        parent, _, target = clean(self._placed(header.linkname)).rpartition(b"/")
        if not target:
            raise InvalidArgument(f'{shown(header.name)}: invalid hardlink target "{shown(header.linkname)}"')
        try:
            source = self._directories.find(parent)
            status = os.stat(target, dir_fd=source.fd, follow_symlinks=False)
        except FileNotFoundError:
            missing = f'{shown(header.name)}: hardlink target "{shown(header.linkname)}" is not in this layer'
            raise NotFound(missing) from None
        if stat.S_ISDIR(status.st_mode):
            raise InvalidArgument(f'{shown(header.name)}: invalid hardlink target "{shown(header.linkname)}"')
        try:
            os.link(target, base, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(status, os.stat(base, dir_fd=directory.fd, follow_symlinks=False)):
                return
            self._clear(directory, base)
            os.link(target, base, src_dir_fd=source.fd, dst_dir_fd=directory.fd, follow_symlinks=False)

    def _create(self, directory: Directory, base: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._clear(directory, base)
            make()
        self._extracted.inodes += 1

    def _set_metadata(self, directory: Directory, base: bytes, header: Header) -> None:
        """Set owner, extended attributes and time of what is not opened: symbolic links and devices."""
        fd = directory.fd
        if header.uid or header.gid or directory.inherits:
            os.chown(base, header.uid, header.gid, dir_fd=fd, follow_symlinks=False)
        if header.xattrs:
            # No syscall before Linux 6.13 accepts a directory here, and the worker has no /proc.
            os.fchdir(fd)
            self._set_xattrs(base, join(directory.path, base), header)
        os.utime(base, ns=(header.mtime_ns, header.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _set_xattrs(self, target: int | bytes, path: bytes, header: Header) -> None:
        for name, value in (header.xattrs or {}).items():
            if (name.startswith(b"security.") and name != _CAPABILITY) or name == b"system.nfs4_acl":
                continue  # labels are set by the host, not by the image
            if self._overlay and name.startswith(OVERLAY_XATTRS):
                continue  # they would control the overlay that the layer becomes part of
            if name.startswith(b"trusted."):
                if not self._literal:
                    self._leave_to_others(path, name, value)
                continue
            try:
                os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                if error.errno == errno.ENOTSUP:
                    what = f"/{shown(path)}: the file system does not support extended attribute {shown(name)}"
                    raise Unsupported(what) from error
                # No kernel supports user.* of symbolic links and devices; dockerd ignores it too.
                if error.errno != errno.EPERM or not name.startswith(b"user."):
                    raise

    def _leave_to_others(self, path: bytes, name: bytes, value: bytes) -> None:
        """Record an extended attribute that requires a privilege."""
        self._untold_bytes -= len(path) + len(name) + len(value) + _TOLD_BESIDE_BYTES
        if self._untold_bytes < 0:
            raise InvalidArgument(f"{shown(path)}: the layer has too many extended attributes of trusted.*")
        self._extracted.trusted.append((path, name, value))

    # Whiteouts

    def _whiteout(self, directory: Directory, base: bytes) -> None:
        if base == OPAQUE:
            self._make_opaque(directory)
            return
        if base.startswith(_AUFS):
            return  # aufs's own bookkeeping, in very old layers
        hidden = base.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise InvalidArgument(f'invalid whiteout entry "{shown(join(directory.path, base))}"')
        if not self._overlay:
            remove(directory.fd, hidden, self._own)
            self._directories.forget()
            return
        path = join(directory.path, hidden)
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory.fd)
        except FileExistsError:
            # This layer has the name itself. A file hides what is below anyway, a directory must be marked.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory.fd, follow_symlinks=False).st_mode):
                self._directories.opaque[path] = None
            return
        self._whiteouts[path] = None
        self._extracted.inodes += 1

    def _make_opaque(self, directory: Directory) -> None:
        if self._overlay:
            self._directories.opaque[directory.path] = None
            return
        for name in os.listdir(directory.fd):  # noqa: PTH208
            remove(directory.fd, os.fsencode(name), self._own)
        self._directories.forget()

    def _clear(self, directory: Directory, base: bytes) -> None:
        """Make room for an entry at an occupied name; paths through it must be resolved again."""
        status = os.stat(base, dir_fd=directory.fd, follow_symlinks=False)
        if self._place.keep_kinds and stat.S_ISDIR(status.st_mode):
            path = shown(join(directory.path, base))
            raise InvalidArgument(f'cannot overwrite directory "/{path}" with non-directory "{self._shown_base()}"')
        self._extracted.inodes -= remove(directory.fd, base)
        self._whiteouts.pop(join(directory.path, base), None)
        if stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
            self._directories.forget()

    def _shown_base(self) -> str:
        return f"/{shown(self._place.base)}"

    # What comes last

    def _finish(self) -> None:
        self._hide_nothing_twice()
        for path in self._directories.opaque:
            self._leave_to_others(path, OVERLAY_XATTRS + b"opaque", b"y")
        # Writing to a directory changes its time. A default ACL would be inherited by what is written.
        for path, header in self._explicit.items():
            self._finish_directory(path, header)

    def _finish_directory(self, path: bytes, header: Header) -> None:
        try:
            fd = self._directories.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return  # a later entry replaced it
        try:
            if header.xattrs:
                self._set_xattrs(fd, path, header)
            os.utime(fd, ns=(header.mtime_ns, header.mtime_ns))
        finally:
            os.close(fd)

    def _hide_nothing_twice(self) -> None:
        """Remove whiteouts in opaque directories, as overlayfs would list them."""
        opaque = self._directories.opaque
        if not opaque:
            return
        for path in self._whiteouts:
            if any(ancestor in opaque for ancestor in _ancestors(path)):
                parent, _, base = path.rpartition(b"/")
                fd = self._directories.find(parent).fd
                # A later entry may have replaced it.
                if is_whiteout(os.stat(base, dir_fd=fd, follow_symlinks=False)):
                    self._extracted.inodes -= remove(fd, base)
                self._directories.close_stale()


def _ancestors(path: bytes) -> Iterator[bytes]:
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _check_owner(header: Header) -> None:
    if not (0 <= header.uid < _NO_ID and 0 <= header.gid < _NO_ID):
        raise InvalidArgument(f"{shown(header.name)}: there is no owner {header.uid}:{header.gid}")


def _write_all(fd: int, content: memoryview) -> None:
    while content:
        content = content[os.write(fd, content) :]


def _failure(error: OSError, name: bytes) -> errdefs.SampanError:
    """Our error for a kernel error: who is to blame, and which entry it concerns."""
    kind = InvalidArgument if error.errno in _LAYERS_FAULT else errdefs.SystemFailure
    return kind(f"/{shown(name).lstrip('/')}: {os.strerror(error.errno or 0).lower()}")
