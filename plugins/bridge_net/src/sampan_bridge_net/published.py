"""Published ports as elements of the table's maps and sets.

A *place* is a map or set and a key in it; only one endpoint can have it. The element there says where it leads, and
nft's comment on it which endpoint it belongs to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias

from sampan.drivers import L4, PublishedPort
from sampan_bridge_net.elements import KEY_AT, data_at, encoded

Place: TypeAlias = tuple[str, bytes]
Address: TypeAlias = IPv4Address | IPv6Address

MAPS = {"published4": 4, "published4_any": 4, "published6": 6, "published6_any": 6}
OPEN = {"open4": 4, "open6": 6}
"""The maps and sets, with their IP versions. Those for ports at all of the host's addresses are looked up last."""

_NUMBERS = {L4.TCP: 6, L4.UDP: 17, L4.SCTP: 132}
_ANY = {4: IPv4Address(0), 6: IPv6Address(0)}
_PORT = struct.Struct(">H2x")  # padded to four bytes, as is each part of a key and of data


class Published:
    """What is published, indexed by place and by endpoint, so that no lookup is linear."""

    def __init__(self) -> None:
        self.elements: dict[Place, bytes] = {}
        self._by_endpoint: dict[str, dict[Place, bytes]] = {}

    def of(self, endpoint_id: str) -> Mapping[Place, bytes]:
        """The elements that lead to an endpoint."""
        return self._by_endpoint.get(endpoint_id, {})

    def add(self, endpoint_id: str, elements: Mapping[Place, bytes]) -> None:
        """Add elements that lead to an endpoint."""
        self.elements.update(elements)
        self._by_endpoint.setdefault(endpoint_id, {}).update(elements)

    def drop(self, endpoint_id: str) -> None:
        """Forget the elements that lead to an endpoint."""
        for place in self._by_endpoint.pop(endpoint_id, {}):
            del self.elements[place]


def elements_of(
    endpoint_id: str, ports: Iterable[PublishedPort], addresses: Mapping[int, Address]
) -> dict[Place, bytes]:
    """The elements that map ports to an endpoint with these addresses (by IP version).

    Host port 0 means none: the container's own port is opened.
    """
    elements: dict[Place, bytes] = {}
    for (protocol, host_ip), alike in groupby(ports, attrgetter("protocol", "host_ip")):
        number, address = _NUMBERS[protocol], addresses[host_ip.version]
        name, host = f"published{host_ip.version}", [host_ip.packed]
        if host_ip.is_unspecified:
            name, host = f"{name}_any", []
        key, lead = _key(_filled(number), *host), _lead(address)
        element = bytearray(encoded(key, lead, endpoint_id))  # only the ports in it vary
        port_at, lead_at = KEY_AT + len(key) - _PORT.size, data_at(key) + len(lead) - _PORT.size
        for port in alike:
            if port.host_port:
                _PORT.pack_into(element, port_at, port.host_port)
                _PORT.pack_into(element, lead_at, port.container_port)
                elements[name, bytes(element[KEY_AT : KEY_AT + len(key)])] = bytes(element)
            else:
                opened = _key(address.packed, _filled(number), port=port.container_port)
                elements[f"open{host_ip.version}", opened] = encoded(opened, comment=endpoint_id)
    return elements


def read_map(name: str, told: Iterable[Any]) -> Iterator[tuple[str, Place, bytes]]:
    """The elements of a map in the form of libnftables-json(5), each as endpoint ID, place and encoded element."""
    for match, (address, port) in ((element[0]["elem"], element[1]["concat"]) for element in told):
        protocol, *host, host_port = match["val"]["concat"]
        key = _key(_filled(int(protocol)), *(ip_address(one).packed for one in host), port=int(host_port))
        endpoint_id = match.get("comment", "")
        yield endpoint_id, (name, key), encoded(key, _lead(ip_address(address), int(port)), endpoint_id)


def read_set(name: str, told: Iterable[Any]) -> Iterator[tuple[str, Place, bytes]]:
    """As `read_map`, for a set."""
    for element in (element["elem"] for element in told):
        address, protocol, port = element["val"]["concat"]
        key = _key(ip_address(address).packed, _filled(int(protocol)), port=int(port))
        endpoint_id = element.get("comment", "")
        yield endpoint_id, (name, key), encoded(key, comment=endpoint_id)


def told(place: Place) -> str:
    """Address and port of a place, in Docker's notation."""
    name, key = place
    packed = key[:-8] if name in OPEN else key[4:-4]
    address = ip_address(packed) if packed else _ANY[MAPS[name]]
    return f"{f'[{address}]' if address.version == 6 else address}:{_port(key)}"


def udp_ports(places: Iterable[Place]) -> set[tuple[int, int]]:
    """The host's UDP ports among the places, each as IP version and port."""
    return {(MAPS[name], _port(key)) for name, key in places if name in MAPS and key[0] == _NUMBERS[L4.UDP]}


def _key(*parts: bytes, port: int = 0) -> bytes:
    return b"".join(parts) + _PORT.pack(port)


def _lead(address: Address, port: int = 0) -> bytes:
    return address.packed + _PORT.pack(port)


def _port(key: bytes) -> int:
    port: int
    (port,) = _PORT.unpack_from(key, len(key) - _PORT.size)
    return port


def _filled(protocol: int) -> bytes:
    return bytes([protocol, 0, 0, 0])
