"""Fixtures shared by the tests on the real kernel."""

from pathlib import Path

import pytest

from sampan_cgroups_v2.host import find_host


@pytest.fixture
def cgroups() -> Path:
    """Where cgroup v2 is mounted, alone or beside v1."""
    host = find_host()
    if host.mount is None:
        pytest.skip(f"no cgroup v2 here: {host.why_not()}")
    return host.mount
