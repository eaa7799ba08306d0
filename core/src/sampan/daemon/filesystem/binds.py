"""Parses HostConfig.Binds, Tmpfs and VolumesFrom, which are strings.

Source of rules and messages: moby daemon/volume/mounts/linux_parser.go, and github.com/moby/sys mount/flags_unix.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.daemon.filesystem.mounts import PROPAGATIONS, Point, parse_mount
from sampan.errdefs import InvalidArgument
from sampan.models import BindOptions, DriverConfig, Mount, VolumeOptions
from sampan.syscalls.mount import MS_BIND, MS_REC, MS_REMOUNT, flag_of

_KINDS = {
    **dict.fromkeys(("rw", "ro"), "access"),
    **dict.fromkeys(("z", "Z"), "label"),
    **dict.fromkeys(PROPAGATIONS, "propagation"),
    "nocopy": "copy",
    **dict.fromkeys(("consistent", "cached", "delegated"), "consistency"),
}
"""The words of a mode; at most one of each kind is allowed."""

_NOT_FOR_TMPFS = frozenset({MS_BIND, MS_BIND | MS_REC, MS_REMOUNT})
_TMPFS_DATA = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"})


def parse_bind(text: str, volume_driver: str = "") -> Point:
    """Parse `SOURCE:DESTINATION[:MODE]`. Raises `InvalidArgument` with Docker's message.

    A source without a slash is the name of a volume; `DESTINATION` alone is an anonymous volume.
    """
    source, destination, mode = _parts(text)
    kinds = _kinds(mode)
    is_bind = source.startswith("/")
    propagation = kinds.get("propagation", "")
    mount = Mount(
        type="bind" if is_bind else "volume",
        source=source,
        target=destination,
        read_only=kinds.get("access") == "ro",
        bind_options=BindOptions(propagation=propagation, create_mountpoint=True) if is_bind or propagation else None,
        volume_options=None if is_bind else _volume_options(volume_driver, no_copy="copy" in kinds),
    )
    try:
        point = parse_mount(mount, source_must_exist=False)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid volume specification: '{text}': {error}") from None
    point.mode = mode
    return point


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """Parse `CONTAINER[:MODE]`: the container, and whether its volumes are writable. Raises `InvalidArgument`."""
    name, _, mode = text.partition(":")
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    kinds = _kinds(mode)
    if "propagation" in kinds or "copy" in kinds:
        raise InvalidArgument(f"invalid mode: {mode}")
    return name, kinds.get("access") != "ro"


def merge_tmpfs_options(options: Iterable[str]) -> tuple[str, ...]:
    """The options of a tmpfs; of each kind, the last one applies. Raises `InvalidArgument` with Docker's message."""
    merged: dict[str | int, str] = {}
    for option in options:
        name, has_value, _ = option.partition("=")
        if option == "defaults":
            continue
        flag = flag_of(option)
        if flag in _NOT_FOR_TMPFS or (flag is None and not (has_value and name in _TMPFS_DATA)):
            parts = " ".join(f'"{part}"' for part in option.split("=", 1))
            raise InvalidArgument(f"invalid tmpfs option [{parts}]")
        key = name if flag is None else flag
        merged.pop(key, None)
        merged[key] = option
    return tuple(merged.values())


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":", 3)
    match parts:
        case [destination] if destination:
            return "", destination, ""
        case [source, destination] if source and not _is_mode(destination):
            return source, destination, ""
        case [source, destination, mode] if source:
            return source, destination, mode
    raise InvalidArgument(f"invalid volume specification: '{text}'")


def _is_mode(text: str) -> bool:
    try:
        _kinds(text)
    except InvalidArgument:
        return False
    return True


def _kinds(mode: str) -> dict[str, str]:
    """The words of a mode, by kind."""
    kinds: dict[str, str] = {}
    for word in mode.split(",") if mode else ():
        kind = _KINDS.get(word)
        if kind is None or kind in kinds:
            raise InvalidArgument(f"invalid mode: {mode}")
        kinds[kind] = word
    return kinds


def _volume_options(driver: str, *, no_copy: bool) -> VolumeOptions | None:
    if not driver and not no_copy:
        return None
    return VolumeOptions(no_copy=no_copy, driver_config=DriverConfig(name=driver) if driver else None)
