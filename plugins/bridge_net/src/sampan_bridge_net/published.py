"""Published ports as elements of the table's maps and sets, in nft's words.

A *place* is a map or set and what is matched there: nobody else can have it. With it goes what is there: a comment
that says which endpoint's it is, and where it leads. A start waits for what is done for each of a thousand ports, so
these are plain texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias

from sampan.drivers import L4, PublishedPort

Place: TypeAlias = tuple[str, str]

MAPS = {"published4": 4, "published4_any": 4, "published6": 6, "published6_any": 6}
OPEN = {"open4": 4, "open6": 6}
"""The maps and sets, with their IP versions. Those of ports at all addresses of the host are looked in last."""

_NUMBERS = {L4.TCP: 6, L4.UDP: 17, L4.SCTP: 132}
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104


class Published:
    """What is published, by place and by endpoint: nothing is searched among all of them."""

    def __init__(self) -> None:
        self.elements: dict[Place, str] = {}
        self._by_endpoint: dict[str, dict[Place, str]] = {}

    def of(self, endpoint_id: str) -> Mapping[Place, str]:
        """What leads to an endpoint."""
        return self._by_endpoint.get(endpoint_id, {})

    def add(self, endpoint_id: str, elements: Mapping[Place, str]) -> None:
        """Note what leads to an endpoint."""
        self.elements.update(elements)
        self._by_endpoint.setdefault(endpoint_id, {}).update(elements)

    def drop(self, endpoint_id: str) -> None:
        """Forget what leads to an endpoint."""
        for place in self._by_endpoint.pop(endpoint_id, {}):
            del self.elements[place]


def elements_of(
    endpoint_id: str, ports: Iterable[PublishedPort], addresses: Mapping[int, IPv4Address | IPv6Address]
) -> dict[Place, str]:
    """What leads ports to an endpoint with these addresses, by IP version.

    A host port 0 is none: the container's own port is opened.
    """
    elements: dict[Place, str] = {}
    owner = _owner(endpoint_id)
    for (protocol, host_ip), alike in groupby(ports, attrgetter("protocol", "host_ip")):
        number, address = _NUMBERS[protocol], str(addresses[host_ip.version])
        name, match = f"published{host_ip.version}", f"{number} . {host_ip} . "
        if host_ip.is_unspecified:
            name, match = f"{name}_any", f"{number} . "
        for port in alike:
            if port.host_port:
                elements[name, f"{match}{port.host_port}"] = f"{owner} : {address} . {port.container_port}"
            else:
                elements[f"open{host_ip.version}", f"{address} . {number} . {port.container_port}"] = owner
    return elements


def read_map(name: str, told: Iterable[Any]) -> Iterator[tuple[str, Place, str]]:
    """The elements of a map as libnftables-json(5) tells them: the endpoint, the place, what is there."""
    for key, value in told:
        endpoint_id = key["elem"].get("comment", "")
        address, port = value["concat"]
        protocol, *host, host_port = key["elem"]["val"]["concat"]
        match = " . ".join([str(protocol), *map(_plain, host), str(host_port)])
        yield endpoint_id, (name, match), f"{_owner(endpoint_id)} : {_plain(address)} . {port}"


def read_set(name: str, told: Iterable[Any]) -> Iterator[tuple[str, Place, str]]:
    """As `read_map`, of a set."""
    for element in told:
        endpoint_id = element["elem"].get("comment", "")
        address, protocol, port = element["elem"]["val"]["concat"]
        yield endpoint_id, (name, f"{_plain(address)} . {protocol} . {port}"), _owner(endpoint_id)


def host_port(place: Place) -> tuple[str, int, int]:
    """Of a place in a map: the host's address, the number of the protocol, and the port."""
    name, match = place
    protocol, *host, port = match.split(" . ")
    return (host[0] if host else _ANY[MAPS[name]]), int(protocol), int(port)


def udp_ports(places: Iterable[Place]) -> set[tuple[int, int]]:
    """IP versions and ports of the host's UDP ports among them."""
    begin = f"{_NUMBERS[L4.UDP]} . "
    return {
        (MAPS[name], host_port((name, match))[2])
        for name, match in places
        if name in MAPS and match.startswith(begin)
    }


def _owner(endpoint_id: str) -> str:
    return f'comment "{endpoint_id}"'


def _plain(address: str) -> str:
    """As Python writes it: of some addresses of IPv6 the kernel's words are others."""
    return str(ip_address(address))
