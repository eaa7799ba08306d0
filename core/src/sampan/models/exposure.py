"""What the outside can reach of the containers: an API of ours."""

from __future__ import annotations

from sampan.models.base import Model, Request


class ExposedPort(Model):
    """An address at which the outside comes to a container.

    `port` is what is asked for there, `container_port` where it leads; 0 is any. An `address` of `0.0.0.0` or `::` is
    each of the host's on `interfaces`. `reached_by` is `everybody`, `host-firewall` (whom the host's own input rules
    let in), `route` (who has a route to the container's own address) or `wire` (who is on the network of the
    container's own interface).
    """

    container_id: str
    container_name: str
    network: str
    address: str
    port: int = 0
    protocol: str = ""
    container_port: int = 0
    interfaces: list[str]
    reached_by: str


class ListExposedPorts(Request):
    """port_list."""
