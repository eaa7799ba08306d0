"""Published ports as elements of the table's maps and sets.

A *place* is a map or set and the key that is matched there: nobody else can have it. The element there says where it
leads, and in nft's comment which endpoint's it is.
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
"""The maps and sets, with their IP versions. Those of ports at all addresses of the host are looked in last."""

_NUMBERS = {L4.TCP: 6, L4.UDP: 17, L4.SCTP: 132}
_ANY = {4: IPv4Address(0), 6: IPv6Address(0)}
_PORT = struct.Struct(">H2x")  # filled up to four bytes, as each part of a key and of data is


class Published:
    """What is published, by place and by endpoint: nothing is searched among all of them."""

    def __init__(self) -> None:
        self.elements: dict[Place, bytes] = {}
        self._by_endpoint: dict[str, dict[Place, bytes]] = {}

    def of(self, endpoint_id: str) -> Mapping[Place, bytes]:
        """What leads to an endpoint."""
        return self._by_endpoint.get(endpoint_id, {})

    def add(self, endpoint_id: str, elements: Mapping[Place, bytes]) -> None:
        """Note what leads to an endpoint."""
        self.elements.update(elements)
        self._by_endpoint.setdefault(endpoint_id, {}).update(elements)

    def drop(self, endpoint_id: str) -> None:
        """Forget what leads to an endpoint."""
        for place in self._by_endpoint.pop(endpoint_id, {}):
            del self.elements[place]


def elements_of(
    endpoint_id: str, ports: Iterable[PublishedPort], addresses: Mapping[int, Address]
) -> dict[Place, bytes]:
    """What leads ports to an endpoint with these addresses, by IP version.

    A host port 0 is none: the container's own port is opened.
    """
    elements: dict[Place, bytes] = {}
    for (protocol, host_ip), alike in groupby(ports, attrgetter("protocol", "host_ip")):
        number, address = _NUMBERS[protocol], addresses[host_ip.version]
        name, host = f"published{host_ip.version}", [host_ip.packed]
        if host_ip.is_unspecified:
            name, host = f"{name}_any", []
        key, lead = _key(_filled(number), *host), _lead(address)
        element = bytearray(encoded(key, lead, endpoint_id))  # of which for each port only the ports are others
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
    """The elements of a map as libnftables-json(5) tells them: the endpoint, the place, what is there."""
    for match, (address, port) in ((element[0]["elem"], element[1]["concat"]) for element in told):
        protocol, *host, host_port = match["val"]["concat"]
        key = _key(_filled(int(protocol)), *(ip_address(one).packed for one in host), port=int(host_port))
        endpoint_id = match.get("comment", "")
        yield endpoint_id, (name, key), encoded(key, _lead(ip_address(address), int(port)), endpoint_id)


def read_set(name: str, told: Iterable[Any]) -> Iterator[tuple[str, Place, bytes]]:
    """As `read_map`, of a set."""
    for element in (element["elem"] for element in told):
        address, protocol, port = element["val"]["concat"]
        key = _key(ip_address(address).packed, _filled(int(protocol)), port=int(port))
        endpoint_id = element.get("comment", "")
        yield endpoint_id, (name, key), encoded(key, comment=endpoint_id)


def told(place: Place) -> str:
    """Address and port of a place, as Docker tells them."""
    name, key = place
    packed = key[:-8] if name in OPEN else key[4:-4]
    address = ip_address(packed) if packed else _ANY[MAPS[name]]
    return f"{f'[{address}]' if address.version == 6 else address}:{_port(key)}"


def udp_ports(places: Iterable[Place]) -> set[tuple[int, int]]:
    """IP versions and ports of the host's UDP ports among them."""
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
