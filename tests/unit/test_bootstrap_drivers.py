"""Which of the installed drivers a daemon has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sampan.bootstrap.drivers import make_drivers
from sampan.config import DaemonConfig
from sampan.drivers import NetworkSettings
from sampan.drivers.loader import Drivers, load
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.memory_storage import MemoryStorage


class UnfitNetwork(MemoryNetwork):
    """A driver for another kind of host."""

    def probe(self) -> str | None:
        return "there is no harbour here"


class CrashingNetwork(MemoryNetwork):
    """A driver with a mistake in it."""

    def __init__(self, settings: NetworkSettings) -> None:
        raise KeyError("anchor")


@pytest.fixture
def drivers() -> Drivers:
    networks = {"memory": MemoryNetwork, "other": MemoryNetwork, "unfit": UnfitNetwork, "crashing": CrashingNetwork}
    return replace(load("sampan.none"), storage={"memory": MemoryStorage}, network=networks)


def test_network_drivers_that_do_not_work_here_are_left_out(
    drivers: Drivers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = DaemonConfig(data_root=tmp_path, storage_driver="memory", network_driver="memory")
    _, networks = make_drivers(drivers, config)
    assert networks.keys() == {"bridge", "other"}
    assert caplog.messages == [
        "network driver unfit is left out: there is no harbour here",
        "network driver crashing is left out: 'anchor'",
    ]
