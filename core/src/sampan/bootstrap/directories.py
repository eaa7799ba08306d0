"""Creates the daemon's own directories."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_NO_ACL = (errno.ENODATA, errno.ENOTSUP)


def make_directory(path: Path, mode: int) -> None:
    """Create a directory with exactly this mode, unless it exists.

    It inherits nothing: images would otherwise get the group or the default ACL of the directory that happens to hold
    the data root. Raises `OSError`.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    for acl in _ACLS:
        _remove_xattr(path, acl)
    os.chown(path, -1, os.getegid())
    path.chmod(mode)


def _remove_xattr(path: Path, name: str) -> None:
    try:
        os.removexattr(path, name)
    except OSError as error:
        if error.errno not in _NO_ACL:
            raise
