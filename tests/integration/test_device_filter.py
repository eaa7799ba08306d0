"""The device filter, on a cgroup of the real kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.errdefs import SystemFailure
from sampan.runtime import device, device_filter
from sampan.runtime.namespace import CGROUP_ROOT, HYBRID_ROOT, host_kind

pytestmark = pytest.mark.root


@pytest.fixture
def cgroup() -> Iterator[Path]:
    if host_kind() == "legacy":
        pytest.skip("this host has no cgroup v2")
    path = (HYBRID_ROOT if host_kind() == "hybrid" else CGROUP_ROOT) / f"sampan-test-{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


def inside(cgroup: Path, command: str) -> int:
    """The exit status of a shell command run in the cgroup."""
    script = f"echo $$ > {cgroup}/cgroup.procs && {command}"
    return subprocess.run(["sh", "-c", script], stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.parametrize(
    ("command", "works"),
    [
        ("head -c1 /dev/zero > /dev/null", True),
        ("head -c1 /dev/urandom > /dev/null", True),
        ("head -c1 /dev/kmsg > /dev/null", False),
        ("mknod {tmp}/node c 1 11", True),
        ("mknod {tmp}/node c 1 11 && head -c1 {tmp}/node", False),
    ],
)
def test_the_default_rules_allow_what_every_container_has_and_nothing_else(
    cgroup: Path, tmp_path: Path, command: str, works: bool
) -> None:
    device_filter.attach(cgroup, device.default_rules())
    assert (inside(cgroup, command.format(tmp=tmp_path)) == 0) is works


def test_a_rule_of_the_user_opens_a_device_for_the_access_it_names(cgroup: Path) -> None:
    device_filter.attach(cgroup, [*device.default_rules(), device.parse_rule("c 1:11 r")])
    assert inside(cgroup, ": < /dev/kmsg") == 0
    assert inside(cgroup, ": <> /dev/kmsg") != 0


def test_a_privileged_container_may_use_everything(cgroup: Path) -> None:
    device_filter.attach(cgroup, [device.ALL])
    assert inside(cgroup, ": < /dev/kmsg") == 0


def test_a_cgroup_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="can't be set"):
        device_filter.attach(tmp_path / "gone", device.default_rules())


def test_a_spec_loses_its_rules_once_they_are_set_and_nothing_else(cgroup: Path) -> None:
    resources = {"devices": device.default_rules(), "unified": {"a": "b"}}
    spec = {"root": {}, "linux": {"cgroupsPath": f"/{cgroup.name}", "resources": resources}}
    taken = device_filter.take_over(spec, cgroup.parent)
    assert taken == {"root": {}, "linux": {"cgroupsPath": f"/{cgroup.name}", "resources": {"unified": {"a": "b"}}}}
    assert resources["devices"]
