"""Paths in containers, as clients name them."""

import os
import stat
from pathlib import Path

import pytest

from sampan.daemon.filesystem.paths import absolute, base, go_mode, resolve_directory, stat_path
from sampan.errdefs import InvalidArgument


@pytest.mark.parametrize(
    ("path", "expected", "name"),
    [
        (b"/a/b", b"/a/b", b"b"),
        (b"a", b"/a", b"a"),
        (b"/a/", b"/a/", b"a"),
        (b"/a/.", b"/a/.", b"."),
        (b"/", b"/", b"/"),
        (b".", b"/.", b"."),
        (b"//a//b/../c", b"/a/c", b"c"),
        (b"/../..", b"/", b"/"),
        (b"/\xff", b"/\xff", b"\xff"),
    ],
)
def test_a_path_is_clean_and_keeps_its_ending(path: bytes, expected: bytes, name: bytes) -> None:
    assert absolute(path) == expected
    assert base(absolute(path)) == name


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFREG | 0o6755, 1 << 23 | 1 << 22 | 0o755),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
    ],
)
def test_modes_are_those_of_go(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "in/d").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in/abs").symlink_to("/d")
    (tmp_path / "in/up").symlink_to("../../out")
    root = os.open(tmp_path / "in", os.O_PATH | os.O_DIRECTORY)
    try:
        assert resolve_directory(root, b"/abs") == b"d"
        assert stat_path(root, b"/up").link_target == "/out"
        with pytest.raises(FileNotFoundError):
            resolve_directory(root, b"/up")
    finally:
        os.close(root)


def test_a_file_is_no_place_to_unpack(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(InvalidArgument, match="extraction point is not a directory"):
            resolve_directory(root, b"/f")
    finally:
        os.close(root)
