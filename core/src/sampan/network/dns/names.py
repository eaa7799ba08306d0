"""Which name means which endpoint, for each user-defined network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

from sampan.network.records import EndpointRecord


class Names:
    """The names of the endpoints of all user-defined networks, compared without regard to case.

    After each change of an endpoint, `put` must be called again.
    """

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, bytes], dict[str, EndpointRecord]] = {}
        self._by_address: dict[tuple[str, IPv4Address | IPv6Address], EndpointRecord] = {}
        self._known: dict[str, EndpointRecord] = {}

    def put(self, endpoint: EndpointRecord) -> None:
        """Register an endpoint's names and addresses, replacing earlier ones."""
        self.drop(endpoint)
        self._known[endpoint.id] = endpoint
        for name in _keys(endpoint):
            self._by_name.setdefault(name, {})[endpoint.id] = endpoint
        for address in endpoint.addresses:
            self._by_address[endpoint.network_id, address.ip] = endpoint

    def drop(self, endpoint: EndpointRecord) -> None:
        """Forget an endpoint, if it is registered."""
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
        """The endpoints that the container with the endpoints `seen_from` means by a name.

        That is by its links, by a name on one of its networks, or by `NAME.NETWORK`. The first network that has the
        name wins.
        """
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
        """The name, with its network's, of the endpoint with this address on a network of `seen_from`."""
        for endpoint in seen_from:
            found = self._by_address.get((endpoint.network_id, address))
            if found is not None and found.names:
                return f"{found.names[0]}.{found.network_name}"
        return None


def linked(endpoint: EndpointRecord, name: bytes) -> bytes | None:
    """The name of the container for which `endpoint` has a link called `name`."""
    for alias, target in endpoint.links:
        if alias.lower().encode() == name:
            return target.lower().encode()
    return None


def _keys(endpoint: EndpointRecord) -> list[tuple[str, bytes]]:
    return [(endpoint.network_id, name) for name in dict.fromkeys(one.lower().encode() for one in endpoint.names)]
