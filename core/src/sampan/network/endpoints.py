"""The endpoints: who is on which network, with which addresses and names, in memory and in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sampan.network import store
from sampan.network.dns.names import Names
from sampan.network.ipam import Addresses
from sampan.network.records import PREDEFINED, EndpointRecord, NetworkRecord
from sampan.state import Database


class Endpoints:
    """All endpoints, and the addresses in use, which outlive them for a while. Used from the event loop only."""

    def __init__(self, database: Database, names: Names) -> None:
        self._database = database
        self._names = names
        self.addresses = Addresses()
        self._by_id: dict[str, EndpointRecord] = {}
        self._of: dict[str, tuple[EndpointRecord, ...]] = {}

    def load(self) -> None:
        """Read all endpoints from the database."""
        for endpoint in self._database.read(store.select_endpoints):
            self.put(endpoint)
            for address in endpoint.addresses:
                self.addresses.take(endpoint.network_id, address.ip)

    def all(self) -> tuple[EndpointRecord, ...]:
        """Every endpoint."""
        return tuple(self._by_id.values())

    def get(self, id: str) -> EndpointRecord:
        """The current record of an existing endpoint."""
        return self._by_id[id]

    def of(self, container_id: str) -> tuple[EndpointRecord, ...]:
        """A container's endpoints, the one with the default routes first, then by interface."""
        return self._of.get(container_id, ())

    def on(self, network: NetworkRecord) -> tuple[EndpointRecord, ...]:
        """The endpoints of a network."""
        return tuple(endpoint for endpoint in self.all() if endpoint.network_id == network.id)

    def find(self, container_id: str, network: NetworkRecord) -> EndpointRecord | None:
        """The container's endpoint on a network."""
        return next((one for one in self.of(container_id) if one.network_id == network.id), None)

    def put(self, endpoint: EndpointRecord) -> None:
        """Store the endpoint's current record in memory."""
        self._by_id[endpoint.id] = endpoint
        self._sort(endpoint)
        if endpoint.network_name not in PREDEFINED:
            self._names.put(endpoint)

    def drop(self, endpoint: EndpointRecord) -> None:
        """Remove the endpoint from memory; no error if it is not there."""
        self._by_id.pop(endpoint.id, None)
        self._sort(endpoint)
        self._names.drop(endpoint)

    async def insert(self, endpoint: EndpointRecord) -> None:
        """Write a new endpoint, which is already in memory, to the database."""
        await self._database.write(lambda db: store.insert_endpoint(db, endpoint), durable=False)

    async def update(self, *endpoints: EndpointRecord) -> None:
        """Change endpoints in the database, all or none, and then in memory."""
        await self._database.write(lambda db: store.update_endpoints(db, endpoints), durable=False)
        for endpoint in endpoints:
            self.put(endpoint)

    async def delete(self, endpoints: Sequence[EndpointRecord]) -> None:
        """Delete endpoints that are no longer in memory from the database; their addresses stay taken."""
        if endpoints:
            await self._database.write(lambda db: store.delete_endpoints(db, endpoints), durable=False)

    async def forget(self, endpoint: EndpointRecord) -> None:
        """Remove an endpoint that no longer has an interface, and free its addresses."""
        self.drop(endpoint)
        await self.delete([endpoint])
        await self.forget_addresses(endpoint)

    async def forget_addresses(self, endpoint: EndpointRecord) -> None:
        """Free the addresses of an endpoint whose interface is gone."""
        for address in endpoint.addresses:
            self.addresses.release(endpoint.network_id, address.ip)
        await self._database.write(lambda db: store.delete_addresses(db, endpoint), durable=False)

    async def rename(self, container_id: str, name: str) -> None:
        """Rename the container; its other names stay."""
        await self.update(*(_renamed(endpoint, name) for endpoint in self.of(container_id)))

    def _sort(self, changed: EndpointRecord) -> None:
        """Keep a container's endpoints in order, as they are needed for each DNS query."""
        others = [one for one in self.of(changed.container_id) if one.id != changed.id]
        present = [self._by_id[changed.id]] if changed.id in self._by_id else []
        found = sorted((*others, *present), key=lambda endpoint: (not endpoint.carries_gateway, endpoint.ifname))
        self._of.pop(changed.container_id, None)
        if found:
            self._of[changed.container_id] = tuple(found)


def _renamed(endpoint: EndpointRecord, name: str) -> EndpointRecord:
    others = [one for one in endpoint.names if one != endpoint.container_name]
    return replace(endpoint, container_name=name, names=tuple(dict.fromkeys((name, *others))))
