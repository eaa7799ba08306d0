"""CgroupParent as a path below the slice."""

from __future__ import annotations

import pytest

from sampan.daemon.settings.placement import placement_of
from sampan.drivers import ANYWHERE, Placement
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig


def test_who_asks_for_no_parent_gets_none() -> None:
    assert placement_of(HostConfig(), {}) == ANYWHERE


@pytest.mark.parametrize(
    ("asked", "parent"),
    [
        ("/batch/night", "batch/night"),
        ("batch", "batch"),
        ("/batch//./night/", "batch/night"),
        ("/", ""),
        ("a.b", "a.b"),
    ],
)
def test_a_parent_is_a_path_below_the_slice(asked: str, parent: str) -> None:
    assert placement_of(HostConfig(cgroup_parent=asked), {"a": "b"}) == Placement(parent, {"a": "b"})


@pytest.mark.parametrize(
    "asked", ["..", "/a/../../b", "a\nb", "a\0b", "\ud800", "x" * 256, "a/" * 600, f"/a/{'0a' * 32}/b"]
)
def test_what_can_be_no_parent_is_refused(asked: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid cgroup-parent"):
        placement_of(HostConfig(cgroup_parent=asked), {})


@pytest.mark.parametrize("asked", ["batch.slice", "/system.slice/batch.slice/"])
def test_a_slice_of_systemd_is_refused(asked: str) -> None:
    with pytest.raises(InvalidArgument, match="systemd slice received as cgroup parent when using cgroupfs"):
        placement_of(HostConfig(cgroup_parent=asked), {})
