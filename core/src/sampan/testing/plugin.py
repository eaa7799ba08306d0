"""A pytest plugin for authors of sampan plugins, and the project's own leak check.

    # conftest.py
    pytest_plugins = ["sampan.testing.plugin"]

It provides the marker `root`, which skips a test that is not run as root, and the fixture `leaks`, which fails a test
that leaves mounts, namespaces, interfaces, cgroups, nftables elements, processes or open files behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.testing.host import LeakCheck

pytest.register_assert_rewrite(
    *(f"sampan.testing.{kind}_suite" for kind in ("storage", "network", "resource", "volume"))
)


@pytest.fixture
def leaks(tmp_path: Path) -> Iterator[LeakCheck]:
    """Fails the test if it leaves an open file, or something that names its `tmp_path` or a mark it added."""
    check = LeakCheck([str(tmp_path)])
    yield check
    check.assert_clean()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "root: needs root and the real kernel (mounts, namespaces, cgroups)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `root` if not run as root."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
