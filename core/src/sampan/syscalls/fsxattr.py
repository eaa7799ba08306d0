"""ioctl_fs(2) FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR: the project that the files of a directory belong to.

Constants keep their kernel names (include/uapi/linux/fs.h).
"""

from __future__ import annotations

import fcntl
from struct import Struct

FS_XFLAG_PROJINHERIT = 0x00000200

_FS_IOC_FSGETXATTR = 0x801C581F  # _IOR('X', 31, struct fsxattr)
_FS_IOC_FSSETXATTR = 0x401C5820  # _IOW('X', 32, struct fsxattr)
_FSXATTR = Struct("=IIIII8x")


def project_of(fd: int) -> int:
    """The project of an open file; 0 means none. Raises `OSError` if the file system has no projects."""
    return int(_FSXATTR.unpack(fcntl.ioctl(fd, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size)))[3])


def set_project(directory: int, project: int) -> None:
    """Put an open directory, and everything created in it from now on, into `project`. Raises `OSError`."""
    flags, extent, count, _, copied = _FSXATTR.unpack(
        fcntl.ioctl(directory, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size))
    )
    wanted = _FSXATTR.pack(flags | FS_XFLAG_PROJINHERIT, extent, count, project, copied)
    fcntl.ioctl(directory, _FS_IOC_FSSETXATTR, wanted)
