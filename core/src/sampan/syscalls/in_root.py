"""Paths inside a root, gone step by step as the kernel goes them with `RESOLVE_IN_ROOT`.

For where the kernel itself can't go: links that lead to what is not there yet, or whose place is to be known.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_LINKS = 40  # as many as the kernel follows (include/linux/namei.h, MAXSYMLINKS)


def resolve(path: bytes, link_at: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """Where `path` leads inside a root, clean: without leading slash, `.`, `..` and links, empty for the root.

    `link_at` is asked about each step, a directory (clean too) and a name in it: it tells where the link of that
    name leads, or `None` if it is none. Raises `OSError`, that of too many links.
    """
    here: list[bytes] = []
    ahead = path.split(b"/")[::-1]
    links = 0
    while ahead:
        step = ahead.pop()
        if step == b"..":
            here = here[:-1]
        elif step not in (b"", b"."):
            target = link_at(b"/".join(here), step)
            if target is None:
                here.append(step)
                continue
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fsdecode(path))
            here = [] if target.startswith(b"/") else here
            ahead += target.split(b"/")[::-1]
    return b"/".join(here)


def follow(root: int, path: bytes) -> bytes:
    """Where `path` leads in `root`, clean, its links followed as far as there is something. Raises `OSError`."""

    def link_at(parent: bytes, name: bytes) -> bytes | None:
        try:
            fd = openat2(
                root, parent + b"/" + name, os.O_PATH | os.O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)

    return resolve(path, link_at)
