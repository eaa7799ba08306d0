"""Choosing an OCI runtime."""

from __future__ import annotations

import pytest

from sampan.errdefs import Unsupported
from sampan.runtime.probe import FoundRuntime, default_runtime, flaws

BROKEN = FoundRuntime("crun", "/usr/bin/crun", problem="setrlimit failed")
GOOD = FoundRuntime("runc", "/usr/bin/runc")


def test_the_best_one_that_works_is_the_default() -> None:
    assert default_runtime({"runc": GOOD, "crun": BROKEN}, None) == "runc"
    assert default_runtime({"runc": GOOD, "crun": FoundRuntime("crun", "/usr/bin/crun")}, None) == "crun"
    assert default_runtime({"mine": FoundRuntime("mine", "/opt/mine"), "crun": BROKEN}, None) == "mine"


def test_one_that_is_wanted_must_be_there_and_work() -> None:
    with pytest.raises(Unsupported, match="specified default runtime 'kata' does not exist"):
        default_runtime({"runc": GOOD}, "kata")
    with pytest.raises(Unsupported, match="setrlimit failed"):
        default_runtime({"runc": GOOD, "crun": BROKEN}, "crun")


def test_a_host_without_any_is_told_what_to_install() -> None:
    with pytest.raises(Unsupported, match="install crun or runc"):
        default_runtime({}, None)


@pytest.mark.parametrize(
    ("program", "version", "count"),
    [
        ("runc", "1.1.5+ds1", 2),
        ("runc", "1.2.7", 2),
        ("runc", "1.2.8", 1),
        ("runc", "1.3.3", 1),
        ("runc", "1.3.6", 0),
        ("runc", "1.4.2", 1),
        ("runc", "1.5.0", 0),
        ("crun", "1.8.1", 1),
        ("crun", "1.20", 0),
        ("youki", "0.1", 0),
        ("runc", "unknown", 0),
    ],
)
def test_known_flaws_go_by_the_branch_of_the_version(program: str, version: str, count: int) -> None:
    assert len(flaws(program, version)) == count
