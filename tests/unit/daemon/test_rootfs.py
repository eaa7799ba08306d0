"""Creating directories below an untrusted root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.daemon.filesystem.rootfs import make_directory
from sampan.errdefs import InvalidArgument


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/there").mkdir(parents=True)
    (tmp_path / "root/file").touch()
    return tmp_path / "root"


@pytest.fixture
def fd(root: Path) -> Iterator[int]:
    opened = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield opened
    os.close(opened)


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/there", "there"),
        ("/there/a/b", "there/a/b"),
        ("//a/./b/../c", "a/c"),
        ("/../../../a", "a"),
        ("", ""),
        ("/", ""),
    ],
)
def test_directories_are_made_below_the_root(root: Path, fd: int, path: str, made: str) -> None:
    make_directory(fd, path)
    assert (root / made).is_dir()


@pytest.mark.parametrize(
    ("target", "made"),
    [
        ("there", "there/x"),
        ("/there", "there/x"),
        ("/nowhere/yet", "nowhere/yet/x"),
        ("../../../../outside", "outside/x"),
        ("/../outside", "outside/x"),
        ("second", "there/x"),
    ],
)
def test_links_are_followed_as_inside(root: Path, fd: int, target: str, made: str) -> None:
    (root / "link").symlink_to(target)
    (root / "second").symlink_to("/there")
    make_directory(fd, "/link/x")
    assert (root / made).is_dir()
    assert [entry.name for entry in root.parent.iterdir()] == ["root"]


@pytest.mark.parametrize(("path", "words"), [("/file", "is not a directory"), ("/file/x", "is not a directory")])
def test_what_is_in_the_way_is_told(fd: int, path: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=f"Cannot mkdir: {path} {words}"):
        make_directory(fd, path)


def test_links_in_a_circle_end(root: Path, fd: int) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    with pytest.raises(InvalidArgument, match="too many levels of symbolic links"):
        make_directory(fd, "/one/x")
