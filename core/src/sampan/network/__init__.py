"""What every network driver gets for free: namespaces, addresses, ports, and the files that name things."""

from sampan.network.controller import NetworkController
from sampan.network.files import ContainerFiles
from sampan.network.ipam import DEFAULT_POOLS, PoolRange
from sampan.network.records import AddressPool, EndpointRecord, NetworkRecord, PortBinding, SandboxRecord

__all__ = [
    "DEFAULT_POOLS",
    "AddressPool",
    "ContainerFiles",
    "EndpointRecord",
    "NetworkController",
    "NetworkRecord",
    "PoolRange",
    "PortBinding",
    "SandboxRecord",
]
