"""The file system that a path is on."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

_FICLONE = 0x40049409  # _IOW(0x94, 9, int), include/uapi/linux/fs.h
_NO_REFLINKS = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM)


def type_of(path: Path) -> str:
    """The type of the file system that holds `path`, from mountinfo (proc_pid_mountinfo(5)).

    Btrfs reports a different device for each subvolume, which mountinfo does not list; in that case the mount point
    that is the longest prefix of the path decides.
    """
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    place = path.resolve()
    found, longest = "an unknown file system", 0
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        words = line.split()
        kind = words[words.index("-") + 1]
        if words[2] == number:
            return kind
        point = words[4].encode().decode("unicode_escape")
        if place.is_relative_to(point) and len(point) >= longest:  # a later mount on the same point hides the earlier
            found, longest = kind, len(point)
    return found


def has_reflinks(directory: Path) -> bool:
    """Whether files in `directory` can share blocks (ioctl_ficlone(2)), determined by trying."""
    with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
        source.write(bytes(4096))
        source.flush()
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError as error:
            if error.errno in _NO_REFLINKS:
                return False
            raise
    return True
