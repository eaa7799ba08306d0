"""mount(2) and umount2(2), and the textual options of mount(8).

Constants keep their kernel names (include/uapi/linux/mount.h).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

_SET = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": MS_SYNCHRONOUS,
    "dirsync": MS_DIRSYNC,
    "mand": MS_MANDLOCK,
    "nosymfollow": MS_NOSYMFOLLOW,
    "noatime": MS_NOATIME,
    "nodiratime": MS_NODIRATIME,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "lazytime": MS_LAZYTIME,
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "remount": MS_REMOUNT,
    "silent": MS_SILENT,
}
_CLEAR = {
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "dev": MS_NODEV,
    "exec": MS_NOEXEC,
    "async": MS_SYNCHRONOUS,
    "symfollow": MS_NOSYMFOLLOW,
    "atime": MS_NOATIME,
    "diratime": MS_NODIRATIME,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "nolazytime": MS_LAZYTIME,
    "nomand": MS_MANDLOCK,
    "loud": MS_SILENT,
    "defaults": 0,
}
_PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
_PER_MOUNT_POINT = (
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_NOSYMFOLLOW
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]


def mount(source: str | None, target: Path | str, type: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises `OSError` naming the target."""
    result = _libc.mount(
        source.encode() if source is not None else None,
        os.fsencode(target),
        type.encode() if type is not None else None,
        flags,
        data.encode() if data else None,
    )
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"mount {source or 'none'} ({type or 'no type'}): {os.strerror(errno)}", str(target))


def umount2(target: Path | str, flags: int = 0) -> None:
    """umount2(2). Raises `OSError` naming the target."""
    if _libc.umount2(os.fsencode(target), flags) < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), str(target))


def parse_options(options: Iterable[str]) -> tuple[int, int, str]:
    """Parse options as in mount(8) into mount(2)'s flags, propagation flags, and file-system-specific data."""
    flags, propagation, data = 0, 0, []
    for option in options:
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        elif option:
            data.append(option)
    return flags, propagation, ",".join(data)


def flag_of(option: str) -> int | None:
    """The flag that an option of mount(8) sets or clears; -1 for propagation, `None` for a file system's own option.

    If two options have the same flag, the later one takes effect.
    """
    if option in _PROPAGATION:
        return -1
    return _SET.get(option, _CLEAR.get(option))


def mount_with_options(source: str, target: Path | str, type: str, options: Iterable[str]) -> None:
    """Mount as mount(8) does: textual options, read-only binds by a remount, then propagation. Raises `OSError`."""
    flags, propagation, data = parse_options(options)
    if type == "bind" and not flags & MS_BIND:
        flags |= MS_BIND
    if flags & MS_BIND:
        mount(source, target, None, flags & (MS_BIND | MS_REC))
        # The kernel ignores the other flags for a new bind mount; they need a separate remount.
        if flags & _PER_MOUNT_POINT:
            mount(None, target, None, MS_REMOUNT | MS_BIND | (flags & _PER_MOUNT_POINT))
    else:
        mount(source, target, type, flags, data)
    if propagation:
        mount(None, target, None, propagation)


def find_mount_point(path: Path) -> Path:
    """The mount point, in the caller's mount namespace, of the mount that holds `path`. Raises `OSError`."""
    return _unescaped(_mountinfo(path)[4])


def is_propagating(path: Path, *kinds: str) -> bool:
    """Whether the mount that holds `path` has one of these propagation types: `shared`, `master` (a slave).

    Raises `OSError`.
    """
    fields = _mountinfo(path)
    return any(field.decode().partition(":")[0] in kinds for field in fields[6 : fields.index(b"-")])


def mounts_below(directory: Path) -> list[Path]:
    """The mount points at and below a directory, in the order in which they were mounted."""
    top, found = os.path.realpath(directory), []
    for line in Path("/proc/thread-self/mountinfo").read_bytes().splitlines():
        place = _unescaped(line.split()[4])
        if place == Path(top) or Path(top) in place.parents:
            found.append(place)
    return found


def _unescaped(field: bytes) -> Path:
    """Decode a path in mountinfo, which has octal escapes for space, tab, newline and backslash."""
    return Path(os.fsdecode(field.decode("unicode_escape").encode("latin-1")))


def _mountinfo(path: Path) -> list[bytes]:
    """The fields of the mountinfo line of the mount that holds `path`."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mount_id = _mount_id(fd)
    finally:
        os.close(fd)
    for line in Path("/proc/thread-self/mountinfo").read_bytes().splitlines():
        fields = line.split(b" ")
        if int(fields[0]) == mount_id:
            return fields
    raise FileNotFoundError(f"no mount of {path} in this mount namespace")


def _mount_id(fd: int) -> int:
    for line in Path(f"/proc/thread-self/fdinfo/{fd}").read_text().splitlines():
        name, _, number = line.partition(":")
        if name == "mnt_id":
            return int(number)
    raise OSError(f"no mnt_id in fdinfo of {fd}")
