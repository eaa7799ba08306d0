"""Removing trees."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.images.layer.remove import identity, remove

FEW = 32
"""How many more files the process may open."""


@pytest.fixture
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry) for entry in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + FEW, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_open_files")
def test_a_tree_is_deeper_than_files_may_be_open(tmp_path: Path) -> None:
    depth = 10 * FEW
    (tmp_path / "top" / ("d/" * depth)).mkdir(parents=True)
    (tmp_path / "top/file").write_text("x")
    directory = os.open(tmp_path, os.O_RDONLY)
    assert remove(directory, b"top") == depth + 2
    os.close(directory)
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_stays_with_the_way_to_it(tmp_path: Path) -> None:
    for path in ("top/a/kept", "top/a/gone", "top/b/gone"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    directory = os.open(tmp_path, os.O_RDONLY)
    assert remove(directory, b"top", {identity((tmp_path / "top/a/kept").stat())}) == 3
    assert remove(directory, b"nothing") == 0
    os.close(directory)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["top", "top/a", "top/a/kept"]
