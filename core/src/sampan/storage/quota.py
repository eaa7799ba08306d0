"""Bounds on the size of directory trees, by the project quota of the file system that they are on.

Only XFS with the mount option `pquota`, as with Docker: an overlay writes with the powers of the one who mounted it,
and whoever has CAP_SYS_RESOURCE is not bound by the quota of ext4.
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
    """Of trees below `directory`, each known by a number."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Others may have projects on the same file system: another state directory's begin elsewhere, mostly.
        self._first = 1 << 31 | zlib.crc32(os.fsencode(directory)) & ~(_NUMBERS - 1)
        self.is_there = _is_enforced(directory)

    def limit(self, number: int, trees: Sequence[Path], size_bytes: int) -> None:
        """Let `trees`, which are empty directories, take no more than `size_bytes` together.

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
        """Forget the limit of the trees to which `tree` belongs; none is no error."""
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
    except OSError:  # the kernel, or the mount, has no quota
        return False


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
