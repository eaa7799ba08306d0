"""Every network driver of ours passes the suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.drivers import NetworkDriver, NetworkSettings, Sandbox
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.network_suite import HostNamespace, NetworkDriverSuite, host_namespace
from sampan_bridge_net.driver import BridgeDriver
from sampan_macvlan_net.driver import MacvlanDriver


class TestMemoryNetwork(NetworkDriverSuite):
    @pytest.fixture
    def make_driver(self, tmp_path: Path) -> Callable[[str], NetworkDriver]:
        return lambda instance: MemoryNetwork(NetworkSettings(tmp_path, instance))

    @pytest.fixture
    def new_sandbox(self) -> Callable[[], Sandbox]:
        return lambda: Sandbox("sandbox", -1)


class OnTheKernel(NetworkDriverSuite):
    """On a host of its own for each test."""

    @pytest.fixture
    def host(self) -> Iterator[HostNamespace]:
        with host_namespace() as host:
            yield host

    @pytest.fixture
    def undo(self, host: HostNamespace) -> Iterator[ExitStack]:
        with ExitStack() as undo:
            yield undo

    @pytest.fixture
    def new_sandbox(self, host: HostNamespace) -> Callable[[], Sandbox]:
        return host.new_sandbox


@pytest.mark.root
class TestBridgeDriver(OnTheKernel):
    @pytest.fixture
    def make_driver(self, tmp_path: Path, undo: ExitStack) -> Callable[[str], NetworkDriver]:
        def make(instance: str) -> NetworkDriver:
            driver = BridgeDriver(NetworkSettings(tmp_path, instance))
            undo.callback(driver.unwatch)
            return driver

        return make


@pytest.mark.root
class TestMacvlanDriver(OnTheKernel):
    @pytest.fixture
    def make_driver(self, tmp_path: Path, undo: ExitStack) -> Callable[[str], NetworkDriver]:
        def make(instance: str) -> NetworkDriver:
            driver = MacvlanDriver(NetworkSettings(tmp_path, instance))
            undo.callback(driver.close)
            return driver

        return make
