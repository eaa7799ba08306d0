"""Which installed drivers a daemon offers, and what it reports about the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sampan.bootstrap.drivers import Chosen, make_drivers
from sampan.config import DaemonConfig
from sampan.drivers import NetworkSettings
from sampan.drivers.loader import Provenance, load
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.memory_storage import MemoryStorage
from tests.support.volume_driver import ShelfDriver


class UnfitNetwork(MemoryNetwork):
    """A driver for another kind of host."""

    def probe(self) -> str | None:
        return "there is no harbour here"


class CrashingNetwork(MemoryNetwork):
    """A driver with a bug."""

    def __init__(self, settings: NetworkSettings) -> None:
        raise KeyError("anchor")


class FullShelf(ShelfDriver):
    """A driver on a host without room for it."""

    def probe(self) -> str | None:
        return "the shelf is full"


NETWORKS = {"memory": MemoryNetwork, "other": MemoryNetwork, "unfit": UnfitNetwork, "crashing": CrashingNetwork}
VOLUMES = {"shelf": ShelfDriver, "full": FullShelf, "local": ShelfDriver}
BROKEN = Provenance("plugin", "rotten", "sampan-rotten", "1", "rotten", "ImportError: this plank is rotten")


def provenance(kind: str, name: str) -> Provenance:
    return Provenance(kind, name, f"sampan-{name}", "1", name)


@pytest.fixture
def chosen(tmp_path: Path) -> Chosen:
    found = [provenance("network", name) for name in NETWORKS] + [provenance("volume", name) for name in VOLUMES]
    drivers = replace(
        load("sampan.none"),
        storage={"memory": MemoryStorage},
        network=NETWORKS,
        volume=VOLUMES,
        provenance=(provenance("storage", "unfit"), *found),
        broken=(BROKEN,),
    )
    config = DaemonConfig(data_root=tmp_path, storage_driver="memory", network_driver="memory")
    return make_drivers(drivers, config)


def test_drivers_that_do_not_work_here_are_left_out(chosen: Chosen) -> None:
    assert chosen.network.keys() == {"bridge", "other"}
    assert chosen.volume.keys() == {"shelf"}


def test_the_log_says_what_is_left_out_and_why(chosen: Chosen, caplog: pytest.LogCaptureFixture) -> None:
    assert [record.getMessage() for record in caplog.get_records("setup")] == [
        "network driver unfit is left out: there is no harbour here",
        "network driver crashing is left out: KeyError: 'anchor'",
        "volume driver full is left out: the shelf is full",
        "volume driver local is left out: the name is taken",
    ]


def test_what_is_left_out_is_listed_with_the_reason(chosen: Chosen) -> None:
    told = {(one.kind, one.name): one.error for one in chosen.provenance}
    assert told == {
        ("storage", "unfit"): None,
        ("network", "memory"): None,
        ("network", "other"): None,
        ("network", "unfit"): "there is no harbour here",
        ("network", "crashing"): "KeyError: 'anchor'",
        ("volume", "shelf"): None,
        ("volume", "full"): "the shelf is full",
        ("volume", "local"): "the name is taken",
        ("plugin", "rotten"): BROKEN.error,
    }
