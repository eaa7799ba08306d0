"""All our network drivers pass the suite, as does the example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.drivers import NetworkDriver, NetworkFactory, NetworkSettings, Sandbox
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.network_suite import NetworkDriverSuite
from sampan_bridge_net.driver import BridgeDriver
from sampan_macvlan_net.driver import MacvlanDriver
from tests.support.ptp_network import PtpDriver


class TestMemoryNetwork(NetworkDriverSuite):
    @pytest.fixture
    def make_driver(self, tmp_path: Path) -> Callable[[str], NetworkDriver]:
        return lambda instance: MemoryNetwork(NetworkSettings(tmp_path, instance))

    @pytest.fixture
    def new_sandbox(self) -> Callable[[], Sandbox]:
        return lambda: Sandbox("sandbox", -1)


@pytest.mark.root
class TestBridgeDriver(NetworkDriverSuite):
    @pytest.fixture
    def factory(self) -> NetworkFactory:
        return BridgeDriver


@pytest.mark.root
class TestMacvlanDriver(NetworkDriverSuite):
    @pytest.fixture
    def factory(self) -> NetworkFactory:
        return MacvlanDriver


@pytest.mark.root
class TestPtpDriver(NetworkDriverSuite):
    @pytest.fixture
    def factory(self) -> NetworkFactory:
        return PtpDriver
