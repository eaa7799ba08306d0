"""The drivers that the configuration selects, able to work on this host."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from sampan.config import DaemonConfig, PublishedPorts
from sampan.daemon.volumes.volumes import LOCAL_DRIVER
from sampan.drivers import (
    DirectDriver,
    HeedfulDriver,
    NetworkDriver,
    NetworkSettings,
    ResourceDriver,
    ResourceSettings,
    StorageDriver,
    VolumeDriver,
)
from sampan.drivers.loader import Drivers
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.state import Database

_log = logging.getLogger("sampan")


class _Probed(Protocol):
    def probe(self) -> str | None: ...


def make_drivers(drivers: Drivers, config: DaemonConfig) -> tuple[StorageDriver, Mapping[str, NetworkDriver]]:
    """The selected drivers, able to work on this host. Network drivers go by the names that clients use."""
    storage = drivers.storage_factory(config.storage_driver)(_directory(config, config.storage_driver))
    _require(storage, "storage", config.storage_driver, others=drivers.storage)
    bridge = drivers.network_factory(config.network_driver)(_network_settings(config, config.network_driver))
    _require(bridge, "network", config.network_driver)
    apply_published_ports(bridge, config)
    networks = dict(_other_networks(drivers, config))
    return storage, {**networks, "bridge": bridge}


def make_resources(drivers: Drivers, config: DaemonConfig, slice: str) -> ResourceDriver:
    """The selected resource driver, on the slice. Raises `Unsupported`."""
    settings = ResourceSettings(_directory(config, config.resource_driver), slice)
    resources = drivers.resource_factory(config.resource_driver)(settings)
    _require(resources, "resource", config.resource_driver)
    return resources


def _other_networks(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, NetworkDriver]]:
    """The network drivers that work here beside the one behind `bridge`; the trouble of one is its own."""
    for name, factory in drivers.network.items():
        if name == config.network_driver:
            continue
        try:
            driver = factory(_network_settings(config, name))
            if reason := driver.probe():
                raise Unsupported(reason)
            apply_published_ports(driver, config)
            yield name, driver
        except Exception as error:  # somebody else's code
            _log.error("network driver %s is left out: %s", name, error)


def volume_drivers(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, VolumeDriver]]:
    """The volume drivers that work here beside `local`; the trouble of one is its own."""
    for name, factory in drivers.volume.items():
        try:
            driver = factory(_directory(config, name))
            if problem := "the name is taken" if name == LOCAL_DRIVER else driver.probe():
                raise Unsupported(problem)
            yield name, driver
        except Exception as error:  # somebody else's code
            _log.error("volume driver %s is left out: %s", name, error)


def apply_published_ports(driver: NetworkDriver, config: DaemonConfig) -> None:
    """Ports are published as the settings say, or not at all."""
    if config.published_ports is PublishedPorts.OPEN or isinstance(driver, DirectDriver):
        return
    if not isinstance(driver, HeedfulDriver):
        raise Unsupported("this network driver can't subject published ports to the host's firewall")
    driver.heed_host_firewall()


def _require(driver: _Probed, kind: str, name: str, *, others: Iterable[str] = ()) -> None:
    if reason := driver.probe():
        instead = " or ".join(f"--{kind}-driver {one}" for one in others if one != name)
        hint = f"; try {instead}" if instead else ""
        raise Unsupported(f'{kind} driver "{name}" can\'t work on this host: {reason}{hint}')


def keep_to_one_storage(config: DaemonConfig, database: Database) -> None:
    """Images and containers lie in the driver that made them: with another one they would all seem to be lost."""
    mark = config.data_root / "storage-driver"
    before = mark.read_text() if mark.exists() else None
    if before == config.storage_driver:
        return  # nothing is written: the disk may be full
    if before and not database.read(_is_unused):
        raise InvalidArgument(
            f'the images and containers in {config.data_root} were made with storage driver "{before}": '
            f'use that one, or another data root for "{config.storage_driver}"'
        )
    mark.write_text(config.storage_driver)


def _is_unused(connection: sqlite3.Connection) -> bool:
    return not any(
        connection.execute(query).fetchone() for query in ("SELECT 1 FROM images", "SELECT 1 FROM containers")
    )


def _directory(config: DaemonConfig, driver: str) -> Path:
    path = config.data_root / "drivers" / driver
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _network_settings(config: DaemonConfig, driver: str) -> NetworkSettings:
    return NetworkSettings(_directory(config, driver), config.instance)
