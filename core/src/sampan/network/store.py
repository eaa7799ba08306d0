"""The network package's rows in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from sampan.network.records import EndpointRecord, NetworkRecord, RecordT, decode, encode


def insert_network(db: sqlite3.Connection, record: NetworkRecord) -> None:
    """Insert a network."""
    row = (record.id, record.name, record.driver, encode(record))
    db.execute("INSERT INTO networks (id, name, driver, document) VALUES (?, ?, ?, ?)", row)


def delete_network(db: sqlite3.Connection, id: str) -> None:
    """Delete a network. Raises `sqlite3.IntegrityError` if it has endpoints."""
    db.execute("DELETE FROM addresses WHERE network_id = ?", (id,))
    db.execute("DELETE FROM networks WHERE id = ?", (id,))


def insert_endpoint(db: sqlite3.Connection, record: EndpointRecord) -> None:
    """Insert an endpoint with its addresses, each of which only one endpoint can have.

    Rows of an earlier one are replaced, which remain if a full disk kept them from being deleted.
    """
    left = db.execute(
        "SELECT id FROM endpoints WHERE network_id = ? AND container_id = ?", (record.network_id, record.container_id)
    )
    for (id,) in left.fetchall():
        _delete_endpoint(db, id)
    row = (record.id, record.network_id, record.container_id, encode(record))
    db.execute("INSERT INTO endpoints (id, network_id, container_id, document) VALUES (?, ?, ?, ?)", row)
    db.executemany(
        "INSERT OR REPLACE INTO addresses (network_id, address, endpoint_id) VALUES (?, ?, ?)",
        [(record.network_id, str(address.ip), record.id) for address in record.addresses],
    )


def update_endpoints(db: sqlite3.Connection, records: Sequence[EndpointRecord]) -> None:
    """Update endpoints."""
    for record in records:
        db.execute("UPDATE endpoints SET document = ? WHERE id = ?", (encode(record), record.id))


def delete_endpoints(db: sqlite3.Connection, records: Sequence[EndpointRecord]) -> None:
    """Delete endpoints; their addresses stay taken until the interfaces are gone."""
    db.executemany("DELETE FROM endpoints WHERE id = ?", [(record.id,) for record in records])


def delete_unreadable(db: sqlite3.Connection) -> list[str]:
    """Delete unreadable networks and endpoints, and the endpoints on such networks; returns a message for each."""
    networks = _unreadable(NetworkRecord, db.execute("SELECT id, document FROM networks"))
    endpoints = _unreadable(EndpointRecord, db.execute("SELECT id, document FROM endpoints"))
    for network in networks:
        on_it = db.execute("SELECT id FROM endpoints WHERE network_id = ?", (network,))
        endpoints.update({id: f"network {network} is gone" for (id,) in on_it})
    for endpoint in endpoints:
        _delete_endpoint(db, endpoint)
    for network in networks:
        delete_network(db, network)
    gone = [("network", networks), ("endpoint", endpoints)]
    return [f"{kind} {id} is forgotten: {why}" for kind, found in gone for id, why in found.items()]


def select_networks(db: sqlite3.Connection) -> list[NetworkRecord]:
    """All networks."""
    return [decode(NetworkRecord, document) for (document,) in db.execute("SELECT document FROM networks")]


def select_endpoints(db: sqlite3.Connection) -> list[EndpointRecord]:
    """All endpoints."""
    return [decode(EndpointRecord, document) for (document,) in db.execute("SELECT document FROM endpoints")]


def delete_addresses(db: sqlite3.Connection, record: EndpointRecord) -> None:
    """Free an endpoint's addresses."""
    db.execute("DELETE FROM addresses WHERE endpoint_id = ?", (record.id,))


def delete_ownerless_addresses(db: sqlite3.Connection) -> None:
    """Free addresses of endpoints that were deleted before their interfaces were gone."""
    db.execute("DELETE FROM addresses WHERE endpoint_id NOT IN (SELECT id FROM endpoints)")


def _delete_endpoint(db: sqlite3.Connection, id: str) -> None:
    db.execute("DELETE FROM addresses WHERE endpoint_id = ?", (id,))
    db.execute("DELETE FROM endpoints WHERE id = ?", (id,))


def _unreadable(kind: type[RecordT], rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Why rows can't be decoded, by ID."""
    found = {}
    for id, document in rows:
        try:
            decode(kind, document)
        except ValidationError as error:
            found[id] = f"its record can't be read: {error.errors()[0]['msg']}"
    return found
