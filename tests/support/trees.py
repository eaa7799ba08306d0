"""Directory trees as data, so that what two engines unpacked from one image can be compared file by file."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path


def tree(root: Path) -> dict[str, str]:
    """For each path below `root`, one line with its type, mode, owners, time, size, attributes and content.

    Each hard link names the first path of its file. Values that depend on the file system are left out: the size of
    directories and link counts (on overlayfs, links removed by an upper layer still count).
    """
    first: dict[tuple[int, int], str] = {}
    found: dict[str, str] = {}
    for path in sorted(_paths(root)):
        status = os.lstat(root / path)
        twin = "" if stat.S_ISDIR(status.st_mode) else first.setdefault((status.st_dev, status.st_ino), path)
        found[path] = f"{_common(root / path, status)} {twin}".rstrip()
    return found


def differences(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    """A line for each path that differs."""
    return [
        f"{path}: {left.get(path, 'missing')} != {right.get(path, 'missing')}"
        for path in sorted({*left, *right})
        if left.get(path) != right.get(path)
    ]


def _paths(root: Path) -> Iterator[str]:
    for directory, directories, names in os.walk(root):
        base = os.path.relpath(directory, root)
        yield from (os.path.normpath(os.path.join(base, name)) for name in (*directories, *names))


def _common(path: Path, status: os.stat_result) -> str:
    words = [stat.filemode(status.st_mode), f"{status.st_uid}:{status.st_gid}", str(status.st_mtime_ns)]
    if stat.S_ISREG(status.st_mode):
        words.append(f"{status.st_size} {hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()}")
    if stat.S_ISLNK(status.st_mode):
        words.append(f"-> {os.readlink(path)}")
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        words.append(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    return " ".join([*words, *_attributes(path)])


def _attributes(path: Path) -> Iterator[str]:
    """The extended attributes that an image can carry; `trusted.*` is the storage driver's metadata."""
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if not name.startswith("trusted."):
            yield f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
