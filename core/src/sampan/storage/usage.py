"""What a tree takes on the disk."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

from sampan.drivers import Usage

_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own (stat(3type))


def disk_usage(root: Path) -> Usage:
    """Blocks and inodes of everything under `root`, itself included, a file with several names once.

    A running container changes its files while they are counted: what vanishes is not counted.
    """
    try:
        return _count(root)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return Usage(size_bytes=_du(root, "-B1"), inodes=_du(root, "--inodes"))


def _du(root: Path, unit: str) -> int:
    """What du(1) says: it counts trees of any depth, but takes a program's start each time.

    Its status is 1 if files vanished meanwhile; the sum is there all the same.
    """
    done = subprocess.run(["du", "-s", unit, "--", root], check=False, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def _count(root: Path) -> Usage:
    status = root.lstat()
    blocks, inodes = status.st_blocks, 1
    linked: set[int] = set()  # a snapshot lies on one file system, so the inode's number is enough
    waiting = [os.fspath(root)]
    while waiting:
        for entry in _entries(waiting.pop()):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif status.st_nlink > 1:
                if status.st_ino in linked:
                    continue
                linked.add(status.st_ino)
            blocks += status.st_blocks
            inodes += 1
    return Usage(size_bytes=blocks * _BLOCK_BYTES, inodes=inodes)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
