"""Limits the size of directory trees by project quotas of the underlying file system.

Only XFS with the mount option `pquota`, as in Docker: an overlay writes with the credentials of the process that
mounted it, and ext4 doesn't enforce quotas on a process with CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sampan.errdefs import SystemFailure
from sampan.storage.file_system import type_of
from sampan.syscalls.fsxattr import project_of, set_project
from sampan.syscalls.quotactl import FS_QUOTA_PDQ_ENFD, limit_project, project_quota_flags

_NUMBERS = 1 << 20


class ProjectQuota:
    """Project quotas of trees below `directory`, identified by numbers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # The range of projects depends on the directory, as others may have projects on the same file system.
        self._first = 1 << 31 | zlib.crc32(os.fsencode(directory)) & ~(_NUMBERS - 1)
        self.is_there = _is_enforced(directory)

    def limit(self, number: int, trees: Sequence[Path], size_bytes: int) -> None:
        """Limit the total size of `trees`, which are empty directories, to `size_bytes`.

        Raises `SystemFailure`.
        """
        project = self._first | number % _NUMBERS
        try:
            with _opened(self._directory) as top:
                limit_project(top, project, size_bytes)
            for tree in trees:
                with _opened(tree) as fd:
                    set_project(fd, project)
        except OSError as error:
            raise SystemFailure(f"can't limit the size of {trees[0]}: {error.strerror}") from error

    def lift(self, tree: Path) -> None:
        """Remove the limit of the trees that `tree` belongs to; not an error if there is none."""
        if not self.is_there:
            return
        with suppress(FileNotFoundError), _opened(tree) as fd:
            if project := project_of(fd):
                limit_project(fd, project, 0)


def _is_enforced(directory: Path) -> bool:
    if type_of(directory) != "xfs":
        return False
    try:
        with _opened(directory) as fd:
            return bool(project_quota_flags(fd) & FS_QUOTA_PDQ_ENFD)
    except OSError:  # no quota support in the kernel or enabled on the mount
        return False


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
