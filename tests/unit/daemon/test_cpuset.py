"""Lists of CPUs and memory nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.daemon.settings.cpuset import cpuset_rules, parse_list


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", set()), ("7", {7}), ("0,3-4,7", {0, 3, 4, 7}), ("0-0,0,1-2", {0, 1, 2}), ("03,1", {1, 3})],
)
def test_a_list(text: str, numbers: set[int]) -> None:
    assert parse_list(text) == numbers


@pytest.mark.parametrize("text", ["a", "1,", "-1", "1-", "3-1", "1-2-3", "1 ", "٣", "1-9223372036854775807", "8193"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid format|value of out range, maximum is 8192"):
        parse_list(text)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    online = tmp_path / "online"
    online.write_text("0-1\n")
    [(is_wrong, words)] = cpuset_rules("cpus", "CPUs", "1-2", online)
    assert (is_wrong, words) == (True, "Requested CPUs are not available - requested 1-2, available: 0-1")
    assert [wrong for wrong, _ in cpuset_rules("cpus", "CPUs", "0-1", online)] == [False]
    assert [wrong for wrong, _ in cpuset_rules("mems", "memory nodes", "0", tmp_path / "none")] == [False]
