"""The daemon's own directories."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from sampan.bootstrap.directories import make_directory

# u::rwx,u:1:rwx,g::r-x,m::rwx,o::--- (include/uapi/linux/posix_acl_xattr.h)
ENTRIES = ((1, 7, -1), (2, 7, 1), (4, 5, -1), (0x10, 7, -1), (0x20, 0, -1))
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in ENTRIES)


def test_a_directory_has_just_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        make_directory(tmp_path / "made", 0o701)
    finally:
        os.umask(umask)
    assert (tmp_path / "made").stat().st_mode & 0o7777 == 0o701


@pytest.mark.root
def test_it_takes_neither_group_nor_acl_from_where_it_lies(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 1)
    tmp_path.chmod(0o2777)
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", ACL)
    except OSError:
        pytest.skip("this file system has no ACLs")
    make_directory(tmp_path / "made", 0o701)
    status = (tmp_path / "made").stat()
    assert (status.st_mode & 0o7777, status.st_gid) == (0o701, os.getegid())
    assert os.listxattr(tmp_path / "made") == []


def test_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir(mode=0o755)
    make_directory(tmp_path / "made", 0o700)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "made").touch()
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "made", 0o700)
