"""Checks by trying whether overlayfs works on this host."""

from __future__ import annotations

import ctypes
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sampan.storage.file_system import type_of
from sampan.syscalls.mount import MS_PRIVATE, MS_REC, mount, mount_with_options
from sampan.syscalls.namespaces import CLONE_FS, CLONE_NEWNS, unshare
from sampan_overlayfs import options

_SEPARATORS = frozenset(':,\\"')
_DT_UNKNOWN = 0


def why_not(state_dir: Path) -> str | None:
    """Why overlayfs can't be used on `state_dir`, in one sentence; `None` if it can."""
    if os.geteuid() != 0:
        return "overlayfs needs root"
    if _SEPARATORS.intersection(str(state_dir)):
        return f"overlayfs can't use {state_dir}: its name has a character that separates mount options"
    with tempfile.TemporaryDirectory(prefix="probe-", dir=state_dir) as scratch:
        return _in_thread(Path(scratch)) or _entry_types(Path(scratch), state_dir)


def _in_thread(scratch: Path) -> str | None:
    """Try in a thread with its own mount namespace, so that the mount disappears with the thread in any case."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlayfs-probe") as threads:
        return threads.submit(_try, scratch).result()


def _try(scratch: Path) -> str | None:
    for name in ("lower", "upper", "work", "merged"):
        (scratch / name).mkdir()
    (scratch / "lower/deleted").touch()
    layers = options.writable(scratch / "upper", scratch / "work", [scratch / "lower"])
    try:
        unshare(CLONE_FS | CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount_with_options("overlay", scratch / "merged", "overlay", layers)
        # This creates a whiteout, which fails if the upper directory's file system does not support it.
        (scratch / "merged/deleted").unlink()
    except OSError as error:
        return f"overlayfs can't be mounted in {scratch.parent}: {error.strerror}{_hint(scratch)}"
    return None


def _hint(scratch: Path) -> str:
    kind = type_of(scratch)
    return (
        f" (it lies on {kind}, which can't hold an upper directory)" if kind == "overlay" else f" (it lies on {kind})"
    )


class _Dirent(ctypes.Structure):
    _fields_ = (
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_uint16),
        ("d_type", ctypes.c_uint8),
        ("d_name", ctypes.c_char * 256),
    )


def _entry_types(scratch: Path, state_dir: Path) -> str | None:
    """Without d_type in directory entries (XFS made with ftype=0), whiteouts are visible; the kernel only logs it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir64.restype = ctypes.c_void_p
    libc.readdir64.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    stream = libc.opendir(os.fsencode(scratch))
    if not stream:
        return f"overlayfs can't read {scratch}: {os.strerror(ctypes.get_errno())}"
    try:
        while found := libc.readdir64(stream):
            entry = _Dirent.from_address(found)
            if entry.d_name not in (b".", b"..") and entry.d_type == _DT_UNKNOWN:
                return f"overlayfs needs d_type, which the file system of {state_dir} does not support"
    finally:
        libc.closedir(stream)
    return None
