"""Resolves paths inside a root step by step, as the kernel does with `RESOLVE_IN_ROOT`.

For cases that openat2(2) can't handle: links to files that don't exist yet, or whose resolved path is needed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_LINKS = 40  # the kernel's limit (include/linux/namei.h, MAXSYMLINKS)


def resolve(path: bytes, link_at: Callable[[bytes, bytes], bytes | None]) -> bytes:
    """Resolve `path` inside a root to a clean path: no leading slash, `.`, `..` or links; empty for the root itself.

    `link_at` is called for each step with a directory (also a clean path) and a name in it, and returns the target of
    the link of that name, or `None` if it is not a link. Raises `OSError` (ELOOP) for too many links.
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
    """Resolve `path` in `root` to a clean path, following links as far as files exist. Raises `OSError`."""

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
