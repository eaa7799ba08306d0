"""What the core provides to every network driver: namespaces, addresses, ports, names, and network files."""

from sampan.network.controller import NetworkController
from sampan.network.files import ContainerFiles
from sampan.network.ipam import DEFAULT_POOLS, PoolRange
from sampan.network.records import (
    AddressPool,
    EndpointRecord,
    EndpointWish,
    NetworkRecord,
    PortBinding,
    SandboxRecord,
)

__all__ = [
    "DEFAULT_POOLS",
    "AddressPool",
    "ContainerFiles",
    "EndpointRecord",
    "EndpointWish",
    "NetworkController",
    "NetworkRecord",
    "PoolRange",
    "PortBinding",
    "SandboxRecord",
]
