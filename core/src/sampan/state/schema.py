"""The tables, as a list of migrations: number N upgrades a database from version N-1 (`PRAGMA user_version`) to N.

An existing migration is never changed; schema changes are appended as new ones. `document` is JSON.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE image_references (
        reference TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images (id)
    ) WITHOUT ROWID;
    CREATE TABLE layers (
        chain_id TEXT PRIMARY KEY,
        diff_id TEXT NOT NULL,
        parent TEXT REFERENCES layers (chain_id),
        size_bytes INTEGER NOT NULL,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE endpoints (
        id TEXT PRIMARY KEY,
        network_id TEXT NOT NULL REFERENCES networks (id),
        container_id TEXT NOT NULL,
        document TEXT NOT NULL,
        UNIQUE (network_id, container_id)
    ) WITHOUT ROWID;
    CREATE TABLE addresses (
        network_id TEXT NOT NULL REFERENCES networks (id),
        address TEXT NOT NULL,
        endpoint_id TEXT NOT NULL,
        PRIMARY KEY (network_id, address)
    ) WITHOUT ROWID;
    CREATE TABLE ports (
        protocol TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        endpoint_id TEXT NOT NULL,
        PRIMARY KEY (protocol, host_ip, host_port)
    ) WITHOUT ROWID;
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ns INTEGER NOT NULL,
        document TEXT NOT NULL
    );
    CREATE INDEX events_by_time ON events (time_ns);
    """,
    """
    CREATE TABLE image_uses (
        image_id TEXT PRIMARY KEY,
        used_at_ns INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    # the ports of an endpoint are in its document, and this table was never queried
    "DROP TABLE ports;",
    # an endpoint's ports are stored as ranges; at first each port is its own range
    """
    UPDATE endpoints SET document = json_set(document, '$.ports', (
        SELECT json_group_array(json_array(
            json_extract(value, '$.protocol'),
            json_extract(value, '$.host_ip'),
            json_extract(value, '$.host_port'),
            json_extract(value, '$.container_port'),
            1
        ))
        FROM json_each(document, '$.ports')
    ));
    """,
)
