"""Fixtures shared by the layer tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.images.layer.remove import remove
from sampan.testing.storage_suite import require_user_attributes
from tests.support.unpacking import tree


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "target"
    path.mkdir(mode=0o755)
    yield path
    # Some trees are too deep for shutil, which pytest uses to clean up.
    fd = os.open(tmp_path, os.O_RDONLY)
    remove(fd, b"target")
    os.close(fd)


@pytest.fixture
def user_attributes(tmp_path: Path) -> None:
    """For tests whose layers have user.* extended attributes."""
    require_user_attributes(tmp_path)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Files next to the target that must not be touched."""
    path = tmp_path / "canary"
    (path / "deep").mkdir(parents=True)
    (path / "file").write_text("untouched")
    (path / "deep" / "file").write_text("untouched")
    before = tree(tmp_path, below="canary")
    siblings = sorted(os.listdir(tmp_path))
    yield path
    assert tree(tmp_path, below="canary") == before
    assert sorted({*os.listdir(tmp_path), "target"}) == sorted({*siblings, "target"})
