"""mount(8) options, translated for mount(2)."""

from __future__ import annotations

from pathlib import Path

from sampan.syscalls.mount import (
    MS_BIND,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    find_mount_point,
    parse_options,
)


def test_options_become_flags_propagation_and_data() -> None:
    assert parse_options(["ro", "nosuid", "rslave", "size=1m", "mode=755"]) == (
        MS_RDONLY | MS_NOSUID,
        MS_SLAVE | MS_REC,
        "size=1m,mode=755",
    )


def test_a_later_option_takes_an_earlier_one_back() -> None:
    assert parse_options(["ro", "rbind", "rw", "defaults"]) == (MS_BIND | MS_REC, 0, "")


def test_the_mount_point_of_a_path_is_found() -> None:
    assert find_mount_point(Path("/proc/self/status")) == Path("/proc")
