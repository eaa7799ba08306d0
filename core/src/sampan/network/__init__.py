"""What every network driver gets for free: namespaces, addresses, ports, names, and the files that name things."""

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
