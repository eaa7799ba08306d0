"""The shared state of the network package's parts."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.drivers import Endpoint, NetworkDriver, UnderlayDriver
from sampan.network.endpoints import Endpoints
from sampan.network.networks import Networks
from sampan.network.plugging import for_driver
from sampan.network.ports import HostPorts
from sampan.network.records import EndpointRecord
from sampan.network.sandbox import Sandboxes


@dataclass(frozen=True)
class Room:
    """The networks, the endpoints on them, the sandboxes, and the host ports."""

    networks: Networks
    endpoints: Endpoints
    sandboxes: Sandboxes
    ports: HostPorts

    def driver(self, endpoint: EndpointRecord) -> NetworkDriver:
        """The driver of the endpoint's network. Raises `NotFound` if it is not installed."""
        return self.networks.driver(self.networks.get(endpoint.network_id).driver)

    def find_driver(self, endpoint: EndpointRecord) -> NetworkDriver | None:
        """The driver of the endpoint's network, if it is installed."""
        return self.networks.find_driver(self.networks.get(endpoint.network_id))

    def for_driver(self, endpoint: EndpointRecord) -> Endpoint:
        """The endpoint as its driver sees it."""
        return for_driver(endpoint, self.networks.get(endpoint.network_id))

    def takes_ports(self, endpoint: EndpointRecord) -> bool:
        """Whether host ports are published for the endpoint, rather than its own ports being on the underlay."""
        return not isinstance(self.driver(endpoint), UnderlayDriver)
