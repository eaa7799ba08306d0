"""Which name stands for whom, on each user-defined network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from sampan.network.records import EndpointRecord


class Names:
    """The names of the endpoints of all user-defined networks. They are found whatever their letters' case.

    An endpoint is put in anew whenever it changes.
    """

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, bytes], dict[str, EndpointRecord]] = {}
        self._by_address: dict[tuple[str, IPv4Address | IPv6Address], EndpointRecord] = {}
        self._known: dict[str, EndpointRecord] = {}

    def put(self, endpoint: EndpointRecord) -> None:
        """Make an endpoint known by its names and addresses, in place of what was known of it."""
        self.drop(endpoint)
        self._known[endpoint.id] = endpoint
        for name in _keys(endpoint):
            self._by_name.setdefault(name, {})[endpoint.id] = endpoint
        for address in endpoint.addresses:
            self._by_address[endpoint.network_id, address.ip] = endpoint

    def drop(self, endpoint: EndpointRecord) -> None:
        """Forget an endpoint, if it is known."""
        known = self._known.pop(endpoint.id, None)
        if known is None:
            return
        for name in _keys(known):
            holders = self._by_name[name]
            del holders[known.id]
            if not holders:
                del self._by_name[name]
        for address in known.addresses:
            if self._by_address.get((known.network_id, address.ip)) is known:
                del self._by_address[known.network_id, address.ip]

    def find(self, name: bytes, seen_from: Sequence[EndpointRecord]) -> list[EndpointRecord]:
        """Those that the container with these endpoints calls so: by its links, by a name on one of its networks, or
        by `NAME.NETWORK`. The first network that knows the name has it."""
        for endpoint in seen_from:
            for asked in (linked(endpoint, name), name):
                if asked and (found := self._by_name.get((endpoint.network_id, asked))):
                    return list(found.values())
        for endpoint in seen_from:
            bare = name.removesuffix(b"." + endpoint.network_name.lower().encode())
            if bare != name and (found := self._by_name.get((endpoint.network_id, bare))):
                return list(found.values())
        return []

    def name_of(self, address: IPv4Address | IPv6Address, seen_from: Iterable[EndpointRecord]) -> str | None:
        """The name, with its network's, of whoever has the address on one of the networks of these endpoints."""
        for endpoint in seen_from:
            found = self._by_address.get((endpoint.network_id, address))
            if found is not None and found.names:
                return f"{found.names[0]}.{found.network_name}"
        return None


def linked(endpoint: EndpointRecord, name: bytes) -> bytes | None:
    """The name of the container that `endpoint` calls `name` by a link."""
    for alias, target in endpoint.links:
        if alias.lower().encode() == name:
            return target.lower().encode()
    return None


def _keys(endpoint: EndpointRecord) -> list[tuple[str, bytes]]:
    return [(endpoint.network_id, name) for name in dict.fromkeys(one.lower().encode() for one in endpoint.names)]
