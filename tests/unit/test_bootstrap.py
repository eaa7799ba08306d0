"""The engine ID that the daemon persists."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.bootstrap.settings import engine_id


def test_an_engine_has_one_name_for_ever(tmp_path: Path) -> None:
    name = engine_id(tmp_path / "engine-id")
    assert len(name) == 36
    assert engine_id(tmp_path / "engine-id") == name
    assert [path.name for path in tmp_path.iterdir()] == ["engine-id"]


@pytest.mark.parametrize("left", ["", "\n"])
def test_a_name_that_a_crash_left_empty_is_none(tmp_path: Path, left: str) -> None:
    (tmp_path / "engine-id").write_text(left)
    assert len(engine_id(tmp_path / "engine-id")) == 36
