"""HostConfig.Mounts: validation, and the resulting mount points.

Source of rules and messages: moby daemon/volume/mounts (linux_parser.go, validate.go) and daemon/volumes_unix.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from sampan.errdefs import InvalidArgument
from sampan.models import Mount, MountPoint, TmpfsOptions

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
DEFAULT_PROPAGATION = "rprivate"
_TMPFS_FLAGS = frozenset({"exec", "noexec"})
_SIZES = (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10))
_OPTIONS = {
    "bind": "bind_options",
    "volume": "volume_options",
    "image": "image_options",
    "tmpfs": "tmpfs_options",
    "cluster": "cluster_options",
}


class Point(MountPoint):
    """A mount point as the daemon stores it.

    `spec` is the request that it came from; it has no type if that was `Volumes` of the image or the user. `copies`
    says that an empty volume is filled with the image's files there.
    """

    spec: Mount = Field(default_factory=Mount)
    copies: bool = False


def parse_mount(mount: Mount, *, source_must_exist: bool = True) -> Point:
    """The mount point for an entry of HostConfig.Mounts. Raises `InvalidArgument` with Docker's message."""
    for reason in _faults(mount, source_must_exist=source_must_exist):
        raise InvalidArgument(f'invalid mount config for type "{mount.type}": {reason}')
    point = Point(type=mount.type, destination=clean(mount.target), rw=not mount.read_only, spec=mount)
    match mount.type:
        case "bind":
            bind = mount.bind_options
            point.source = clean(mount.source)
            point.propagation = (bind.propagation if bind else "") or DEFAULT_PROPAGATION
        case "volume":
            options = mount.volume_options
            point.name = mount.source or None
            point.driver = options.driver_config.name if options and options.driver_config else ""
            point.copies = not (options and options.no_copy)
        case "image":
            point.name, point.propagation, point.rw = mount.source, DEFAULT_PROPAGATION, False
    return point


def tmpfs_options(options: TmpfsOptions | None, *, read_only: bool) -> str:
    """A tmpfs mount's options in the form of mount(8). Raises `InvalidArgument` for unsupported options."""
    given = ["ro"] if read_only else []
    if options and options.mode:
        given.append(f"mode={options.mode:o}")
    if options and options.size_bytes:
        given.append(f"size={_short(options.size_bytes)}")
    if options and options.options:
        given += map(_tmpfs_flag, options.options)
    return ",".join(given)


def clean(path: str) -> str:
    """An absolute path without `.`, `..` and double slashes; symbolic links are not resolved."""
    return posixpath.normpath("/" + path.lstrip("/"))


def check_absolute(path: str) -> None:
    """Raise `InvalidArgument` with Docker's message for a mount point that is `/` or not absolute."""
    for reason in _path_faults(path):
        raise InvalidArgument(reason)


def _faults(mount: Mount, *, source_must_exist: bool) -> Iterator[str]:
    for kind, attribute in _OPTIONS.items():
        if kind != mount.type and getattr(mount, attribute) is not None:
            yield f"field {kind.capitalize()}Options must not be specified"
    if not mount.target:
        yield "field Target must not be empty"
    yield from _path_faults(mount.target)
    match mount.type:
        case "bind":
            yield from _bind_faults(mount, source_must_exist=source_must_exist)
        case "volume":
            yield from _volume_faults(mount)
        case "tmpfs":
            yield from _tmpfs_faults(mount)
        case "image":
            if not mount.source:
                yield "field Source must not be empty"
            yield from _subpath_faults(mount.image_options.subpath if mount.image_options else "")
        case _:
            yield "mount type unknown"


def _path_faults(path: str) -> Iterator[str]:
    if path.startswith("/") and clean(path) == "/":
        yield "invalid specification: destination can't be '/'"
    if not path.startswith("/"):
        yield f"invalid mount path: '{path}' mount path must be absolute"


def _volume_faults(mount: Mount) -> Iterator[str]:
    subpath = mount.volume_options.subpath if mount.volume_options else ""
    if subpath and not mount.source:
        yield "must not set Subpath when using anonymous volumes"
    yield from _subpath_faults(subpath)
    if mount.read_only and not mount.source:
        yield "must not set ReadOnly mode when using anonymous volumes"


def _bind_faults(mount: Mount, *, source_must_exist: bool) -> Iterator[str]:
    options, source = mount.bind_options, mount.source
    if not source:
        yield "field Source must not be empty"
    if options and options.propagation and options.propagation not in PROPAGATIONS:
        yield f"invalid propagation mode: {options.propagation}"
    if not source.startswith("/"):
        yield f"invalid mount path: '{source}' mount path must be absolute"
    may_be_made = options is not None and options.create_mountpoint
    if source_must_exist and not may_be_made and not _exists(source):
        yield f"bind source path does not exist: {source}"
    if options and options.read_only_non_recursive:
        if not mount.read_only:
            yield "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive"
        if options.read_only_force_recursive:
            yield "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
    elif options and options.read_only_force_recursive and not mount.read_only:
        yield "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive"


def _tmpfs_faults(mount: Mount) -> Iterator[str]:
    if mount.source:
        yield "field Source must not be specified"
    if mount.tmpfs_options and mount.tmpfs_options.size_bytes < 0:
        yield f"invalid tmpfs size: {mount.tmpfs_options.size_bytes}"
    try:
        tmpfs_options(mount.tmpfs_options, read_only=mount.read_only)
    except InvalidArgument as error:
        yield str(error)


def _subpath_faults(subpath: str) -> Iterator[str]:
    """Check only the text; that no symbolic link leads outside is checked when it is mounted."""
    if subpath and (subpath.startswith("/") or posixpath.normpath(subpath).split("/")[0] == ".."):
        yield "subpath must be a relative path within the volume"


def _exists(path: str) -> bool:
    """Whether the path exists. Raises `InvalidArgument` for what can't be a file name."""
    try:
        Path(path).stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f'invalid mount config for type "bind": stat {path}: {reason.lower()}') from None
    return True


def _short(size: int) -> str:
    return next((f"{size // unit}{suffix}" for suffix, unit in _SIZES if size % unit == 0), str(size))


def _tmpfs_flag(option: list[str]) -> str:
    if not 1 <= len(option) <= 2:
        raise InvalidArgument("invalid option array length")
    if option[0] not in _TMPFS_FLAGS:
        raise InvalidArgument(f"invalid option: {option[0]}")
    return "=".join(option)
