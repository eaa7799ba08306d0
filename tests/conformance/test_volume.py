"""The conformance suite for volume drivers, run against the example."""

from __future__ import annotations

import pytest

from sampan.drivers import VolumeFactory
from sampan.testing.volume_suite import VolumeDriverSuite
from tests.support.volume_driver import ShelfDriver


class TestShelf(VolumeDriverSuite):
    @pytest.fixture
    def factory(self) -> VolumeFactory:
        return ShelfDriver
