"""Disk usage of a tree, while it changes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sampan.storage.usage import disk_usage


def test_a_directory_that_becomes_a_link_leads_nowhere(tmp_path: Path) -> None:
    """A container may keep swapping the two while the daemon counts as root."""
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    for number in range(50):
        (outside / str(number)).touch()
    (tree / "swapped").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(tree / "swapped", tree / "directory")
            os.rename(tree / "link", tree / "swapped")
            os.rename(tree / "swapped", tree / "link")
            os.rename(tree / "directory", tree / "swapped")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        counted = {disk_usage(tree).inodes for _ in range(2000)}
    finally:
        over.set()
        swapper.join()
    assert max(counted) < 10


def test_no_file_is_left_open(tmp_path: Path) -> None:
    deepest = tmp_path
    for _ in range(150):  # more than is walked without du
        deepest = deepest / "d"
    deepest.mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    assert disk_usage(tmp_path).inodes == 151
    assert disk_usage(tmp_path / "d/d").inodes == 149
    assert os.listdir("/proc/self/fd") == before


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk_usage(tmp_path / "nothing")
