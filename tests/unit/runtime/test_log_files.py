"""Which files a log has, and which are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.runtime.log_files import LogFiles, LogLimits, LogReader


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "log", LogLimits(file_bytes=100, files=3))


def renew(files: LogFiles, size: int) -> None:
    """Replace the current file with a new, numbered one of `size` bytes."""
    new = files.path.with_name("log.tmp")
    new.write_bytes(b"x" * (size - 1) + b"\n")
    new.replace(files.path)
    assert files.number_current()


def sizes(files: LogFiles) -> list[int]:
    return [files.numbered(number).stat().st_size for number in files.numbers()]


def test_the_current_file_is_numbered_once(files: LogFiles) -> None:
    files.begin()
    files.begin()
    assert files.numbers() == [1]
    assert not files.number_current()


def test_a_writer_that_starts_does_not_go_on_in_a_full_file(files: LogFiles) -> None:
    files.begin()
    files.path.write_bytes(b"y" * 120)
    files.begin()
    assert sizes(files) == [120, 0]
    assert files.path.samefile(files.numbered(2))


def test_the_newest_files_are_kept(files: LogFiles) -> None:
    for _ in range(7):
        renew(files, 100)
    files.prune()
    assert files.numbers() == [5, 6, 7]
    assert files.size() == 300


def test_short_files_do_not_cost_long_ones_their_place(files: LogFiles) -> None:
    for size in (100, 100, 100, 5, 5, 5):
        renew(files, size)
    files.prune()
    assert sizes(files) == [100, 100, 5, 5, 5]


def test_a_log_without_limits_keeps_everything(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log", LogLimits())
    for _ in range(9):
        renew(files, 1000)
    files.prune()
    assert not files.is_full()
    assert len(files.numbers()) == 9


def test_a_reader_goes_on_with_what_is_left_when_files_are_gone(files: LogFiles) -> None:
    for size in (10, 20, 30):
        renew(files, size)
    with LogReader(files) as reader:
        assert len(reader.read(1000)) == 10
        files.numbered(2).unlink()
        assert len(reader.read(1000)) == 30
        assert reader.read(1000) == b""


def test_a_log_whose_directory_is_gone_is_empty(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "gone" / "log", LogLimits(1, 1))
    assert files.numbers() == []
    assert not files.number_current()
    with LogReader(files) as reader:
        assert reader.read(10) == b""


def test_the_monitors_own_limit_is_what_may_be_kept_in_all() -> None:
    assert LogLimits(30_000_000, 3).monitor_bytes == 90_000_000
    assert LogLimits(1000, 2).monitor_bytes == 16 << 20
    assert LogLimits().monitor_bytes is None
