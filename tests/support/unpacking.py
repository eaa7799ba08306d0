"""Unpacking layers, and the visible result."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sampan.images.layer.limits import WhiteoutFormat
from sampan.images.layer.unpack import Unpacked, unpack
from tests.unit.images.layer.building import (
    block,
    directory,
    entry,
    hard_link,
    pax,
    symlink,
)

OVERLAY, APPLY = WhiteoutFormat.OVERLAY, WhiteoutFormat.APPLY
# VFS_CAP_REVISION_2, cap_net_raw+ep
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


async def unpacked(content: bytes, target: Path, format: WhiteoutFormat = OVERLAY, **more: Any) -> Unpacked:
    return await unpack(chunked(content), target, format=format, **more)


async def chunked(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def tree(root: Path, below: str = "") -> dict[str, tuple[Any, ...]]:
    """All visible properties of the files below `root`, by path."""
    seen: dict[str, tuple[Any, ...]] = {}
    inodes: dict[int, str] = {}
    for parent, directories, files in os.walk(os.fsencode(root / below)):
        for name in sorted([*directories, *files]):
            path = os.path.join(parent, name)
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: Any = None
            if kind == stat.S_IFREG:
                content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            seen[relative] = (
                kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns,
                status.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
                inodes.setdefault(status.st_ino, relative), content, xattrs,
            )  # fmt: skip
    return seen


ZOO = (
    directory(b"bin/"),
    entry(b"bin/su", b"#!", mode=0o4755),
    entry(b"bin/wall", b"#!", mode=0o2755, gid=5),
    entry(b"bin/ping", b"ping", mode=0o755),
    hard_link(b"bin/pong", b"bin/ping"),
    pax((b"SCHILY.xattr.security.capability", CAPABILITY)) + entry(b"bin/capable", b"x", mode=0o755, uid=1),
    symlink(b"bin/sh", b"su", uid=7, gid=8),
    symlink(b"abs", b"/etc/passwd", mtime=12345),
    directory(b"tmp", mode=0o1777),
    directory(b"shared", mode=0o2770, uid=10, gid=20),
    entry(b"shared/a", b"a"),
    directory(b"shared/d"),
    directory(b"closed", mode=0o000),
    entry(b"closed/secret", b"x", mode=0o000),
    entry(b"empty"),
    entry(b"big", os.urandom(3_000_000)),
    entry(b"old", b"x", mtime=b"\xff" * 11 + b"\x9c"),
    pax((b"mtime", b"1234567890.123456789")) + entry(b"exact", b"x"),
    pax((b"uid", b"3000000000"), (b"gid", b"4000000000")) + entry(b"foreign", b"x"),
    pax((b"SCHILY.xattr.user.note", b"\xff\0\n=")) + entry(b"noted", b"x", mode=0o444),
    pax((b"SCHILY.xattr.user.dir", b"1")) + directory(b"noteddir", mtime=99),
    entry(b"noteddir/x", b"x"),
    pax((b"SCHILY.xattr.trusted.mark", b"1")) + entry(b"trusted", b"x"),
    entry(b"\xff\xfe not utf-8", b"x"),
    entry(b"new\nline", b"x"),
    pax((b"path", b"deep/" * 200 + b"end")) + entry(b"x", b"x"),
    block(b"null", b"3", device=(1, 3), mode=0o666),
    block(b"disk", b"4", device=(259, 70000), mode=0o660, gid=6),
    block(b"pipe", b"6", mode=0o600, uid=9),
    entry(b"./dotted/./name", b"x"),
    entry(b"/absolute", b"x"),
    entry(b"x/../resolved", b"x"),
)


def without_times_of_implicit(seen: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {
        path: (*what[:4], *what[5:]) if path == "dotted" or path.endswith("deep") else what
        for path, what in seen.items()
    }


def timeless(seen: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Drop the times of directories, which removing a file changes, the times of whiteouts, and xattrs."""
    return {
        path: (*what[:4], None if what[0] in (stat.S_IFDIR, stat.S_IFCHR) else what[4], *what[5:8])
        for path, what in seen.items()
    }


def workers(target: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(target).encode() in process.read_bytes():
                found.append(process.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
