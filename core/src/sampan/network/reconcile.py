"""Reconciles network records and kernel when a daemon starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from sampan.drivers import Endpoint, Network, NetworkDriver
from sampan.errdefs import SampanError
from sampan.network.endpoints import Endpoints
from sampan.network.networks import Networks, try_logged
from sampan.network.plugging import for_driver, remove_endpoint
from sampan.network.ports import HostPorts
from sampan.network.records import EndpointRecord, NetworkRecord

_log = logging.getLogger(__name__)


async def remove_strays(driver: NetworkDriver, networks: Networks, endpoints: Endpoints) -> None:
    """Remove what the driver has but no record knows, for example after the data root was deleted.

    This happens before networks are created, as a stray bridge may have the name and subnet of a new one.
    """
    held = await asyncio.to_thread(driver.list)
    for id in sorted(held.networks):
        if id not in networks:
            _log.info("network %s is not in the database: removed", id[:12])
            await asyncio.to_thread(try_logged, driver.remove_network, Network(id, id[:12], ()))
    for id in held.endpoints - {endpoint.id for endpoint in endpoints.all()}:
        _log.info("endpoint %s belongs to no container: removed", id[:12])
        await asyncio.to_thread(remove_endpoint, driver, Endpoint(id, Network("", "", ()), "", ()))


async def forget_ended(name: str, networks: Networks, endpoints: Endpoints) -> None:
    """Forget the endpoints that this driver no longer has, for example after a reboot.

    This happens before the default bridge is created, as that depends on whether containers are still on it.
    """
    driver = networks.driver(name)
    held = await asyncio.to_thread(driver.list)
    for endpoint, network in _endpoints_of(name, networks, endpoints):
        if endpoint.id not in held.endpoints:
            _log.info("endpoint %s of container %s ended meanwhile", endpoint.id[:12], endpoint.container_id[:12])
            await asyncio.to_thread(remove_endpoint, driver, for_driver(endpoint, network))
            await endpoints.forget(endpoint)


async def adopt_endpoints(name: str, networks: Networks, endpoints: Endpoints, ports: HostPorts) -> None:
    """Take over the endpoints that this driver has, with their ports."""
    for endpoint, network in _endpoints_of(name, networks, endpoints):
        await _adopt(networks.driver(name), endpoint, network, ports)


def _endpoints_of(
    name: str, networks: Networks, endpoints: Endpoints
) -> Iterator[tuple[EndpointRecord, NetworkRecord]]:
    """The endpoints on this driver's networks."""
    for endpoint in endpoints.all():
        network = networks.get(endpoint.network_id)
        if network.driver == name:
            yield endpoint, network


async def _adopt(driver: NetworkDriver, endpoint: EndpointRecord, network: NetworkRecord, ports: HostPorts) -> None:
    ports.adopt(endpoint.ports)
    if endpoint.ports:
        try:
            await asyncio.to_thread(driver.publish, for_driver(endpoint, network), endpoint.ports)
        except SampanError as error:
            _log.error("ports of container %s: %s", endpoint.container_id[:12], error)
