"""Instantiates the drivers that the configuration selects, after checking that they work on this host."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from sampan.bootstrap.directories import make_directory
from sampan.config import DaemonConfig, PublishedPorts
from sampan.daemon.volumes.volumes import LOCAL_DRIVER
from sampan.drivers import (
    HostFirewallDriver,
    NetworkDriver,
    NetworkFactory,
    NetworkSettings,
    ResourceDriver,
    ResourceSettings,
    StorageDriver,
    UnderlayDriver,
    VolumeDriver,
    VolumeFactory,
)
from sampan.drivers.loader import Drivers, Provenance, sentence
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.state import Database

_log = logging.getLogger("sampan")


_T = TypeVar("_T")


class _Probed(Protocol):
    def probe(self) -> str | None: ...


@dataclass(frozen=True)
class Chosen:
    """The drivers of a daemon, and the provenance of all installed ones, with the reason for each left out.

    Network drivers have the names that clients use.
    """

    storage: StorageDriver
    network: Mapping[str, NetworkDriver]
    volume: Mapping[str, VolumeDriver]
    provenance: tuple[Provenance, ...]


def make_drivers(drivers: Drivers, config: DaemonConfig) -> Chosen:
    """The selected drivers, and the others that work on this host. Raises `Unsupported` if a selected one doesn't."""
    storage = drivers.storage_factory(config.storage_driver)(_directory(config, config.storage_driver))
    _require(storage, "storage", config.storage_driver, others=drivers.storage)
    bridge = drivers.network_factory(config.network_driver)(_network_settings(config, config.network_driver))
    _require(bridge, "network", config.network_driver)
    apply_published_ports(bridge, config)
    unfit: dict[tuple[str, str], str] = {}
    networks = dict(_working("network", _other_networks(drivers, config), unfit))
    volumes = dict(_working("volume", _volumes(drivers, config), unfit))
    found = (replace(one, error=unfit.get((one.kind, one.name))) for one in drivers.provenance)
    return Chosen(storage, {**networks, "bridge": bridge}, volumes, (*found, *drivers.broken))


def make_resources(drivers: Drivers, config: DaemonConfig, slice: str) -> ResourceDriver:
    """The selected resource driver for the slice. Raises `Unsupported` if it does not work on this host."""
    settings = ResourceSettings(_directory(config, config.resource_driver), slice)
    resources = drivers.resource_factory(config.resource_driver)(settings)
    _require(resources, "resource", config.resource_driver)
    return resources


def _working(
    kind: str, makers: Iterable[tuple[str, Callable[[], _T]]], unfit: dict[tuple[str, str], str]
) -> Iterator[tuple[str, _T]]:
    """The drivers that can be created; one that fails is logged and added to `unfit`, and affects no other."""
    for name, make in makers:
        try:
            driver = make()
        except Exception as error:  # third-party code
            unfit[kind, name] = str(error) if isinstance(error, Unsupported) else sentence(error)
            _log.error("%s driver %s is left out: %s", kind, name, unfit[kind, name])
        else:
            yield name, driver


def _other_networks(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, Callable[[], NetworkDriver]]]:
    """Constructors of the network drivers other than the one behind `bridge`."""
    for name, factory in drivers.network.items():
        if name != config.network_driver:
            yield name, partial(_make_network, factory, name, config)


def _make_network(factory: NetworkFactory, name: str, config: DaemonConfig) -> NetworkDriver:
    driver = factory(_network_settings(config, name))
    if reason := driver.probe():
        raise Unsupported(reason)
    apply_published_ports(driver, config)
    return driver


def _volumes(drivers: Drivers, config: DaemonConfig) -> Iterator[tuple[str, Callable[[], VolumeDriver]]]:
    """Constructors of the volume drivers other than `local`."""
    for name, factory in drivers.volume.items():
        yield name, partial(_make_volume, factory, name, config)


def _make_volume(factory: VolumeFactory, name: str, config: DaemonConfig) -> VolumeDriver:
    driver = factory(_directory(config, name))
    if problem := "the name is taken" if name == LOCAL_DRIVER else driver.probe():
        raise Unsupported(problem)
    return driver


def apply_published_ports(driver: NetworkDriver, config: DaemonConfig) -> None:
    """Apply the setting `published-ports` to the driver. Raises `Unsupported` if it can't comply."""
    if config.published_ports is PublishedPorts.OPEN or isinstance(driver, UnderlayDriver):
        return
    if not isinstance(driver, HostFirewallDriver):
        raise Unsupported("this network driver can't subject published ports to the host's firewall")
    driver.enforce_host_firewall()


def _require(driver: _Probed, kind: str, name: str, *, others: Iterable[str] = ()) -> None:
    if reason := driver.probe():
        instead = " or ".join(f"--{kind}-driver {one}" for one in others if one != name)
        hint = f"; try {instead}" if instead else ""
        raise Unsupported(f'{kind} driver "{name}" can\'t work on this host: {reason}{hint}')


def keep_to_one_storage(config: DaemonConfig, database: Database) -> None:
    """Refuse to change the storage driver of a data root in use, as its images and containers would seem lost."""
    mark = config.data_root / "storage-driver"
    before = mark.read_text() if mark.exists() else None
    if before == config.storage_driver:
        return  # without writing, as the disk may be full
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
    drivers = config.data_root / "drivers"
    make_directory(drivers, 0o700)
    path = drivers / driver
    make_directory(path, 0o700)
    return path


def _network_settings(config: DaemonConfig, driver: str) -> NetworkSettings:
    return NetworkSettings(_directory(config, driver), config.instance)
