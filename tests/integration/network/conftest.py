"""Fixtures shared by the network tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.testing.network_suite import host_namespace
from tests.support.network_stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with host_namespace() as namespaces, ExitStack() as undo:
        yield Stage(namespaces, tmp_path, undo)
