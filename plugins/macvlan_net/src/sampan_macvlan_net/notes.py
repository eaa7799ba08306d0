"""The driver's notes about its networks and endpoints: one file each, so that the daemon finds them after a crash."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from sampan.drivers import Endpoint, Network


class Notes:
    """Files in one directory, named by ID, and, in memory, the open sandboxes of endpoints."""

    def __init__(self, directory: Path) -> None:
        self._networks, self._endpoints = directory / "networks", directory / "endpoints"
        self._sandboxes: dict[str, int] = {}
        self._lock = threading.Lock()

    def put_network(self, network: Network, parent: str, *, own: bool) -> None:
        """Note a network, replacing any earlier note of it."""
        subnets = [str(pool.subnet) for pool in network.pools]
        _write(self._networks / network.id, {"parent": parent, "own": own, "subnets": subnets})

    def drop_network(self, id: str) -> None:
        """Forget a network; does nothing if it is unknown."""
        (self._networks / id).unlink(missing_ok=True)

    def networks(self) -> set[str]:
        """The IDs of the networks."""
        return _names(self._networks)

    def parents(self) -> dict[str, str]:
        """The parent link of each network."""
        return {id: str(note["parent"]) for id, note in self._notes()}

    def own_parent(self, id: str) -> str | None:
        """The link that the driver created for a network; `None` if it created none."""
        return next((str(note["parent"]) for other, note in self._notes() if other == id and note["own"]), None)

    def subnets(self) -> Iterator[IPv4Network | IPv6Network]:
        """The subnets of all networks."""
        return (ip_network(text) for _, note in self._notes() for text in note["subnets"])

    def put_endpoint(self, endpoint: Endpoint) -> None:
        """Note an endpoint. Raises `FileExistsError` if it is already noted."""
        self._endpoints.mkdir(parents=True, exist_ok=True)
        (self._endpoints / endpoint.id).touch(exist_ok=False)

    def drop_endpoint(self, id: str) -> None:
        """Forget an endpoint; does nothing if it is unknown."""
        (self._endpoints / id).unlink(missing_ok=True)

    def endpoints(self) -> set[str]:
        """The IDs of the endpoints."""
        return _names(self._endpoints)

    def hold_sandbox(self, endpoint_id: str, netns_fd: int) -> None:
        """Keep the endpoint's sandbox open, so that the interface in it can be deleted later."""
        with self._lock:
            if endpoint_id not in self._sandboxes:
                self._sandboxes[endpoint_id] = os.dup(netns_fd)

    @contextmanager
    def taken_sandbox(self, endpoint_id: str) -> Iterator[int | None]:
        """The sandbox that was held, `None` if there is none. It is closed when the context ends."""
        with self._lock:
            fd = self._sandboxes.pop(endpoint_id, None)
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def close(self) -> None:
        """Release the sandboxes."""
        for id in list(self._sandboxes):
            with self.taken_sandbox(id):
                continue

    def _notes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for id in sorted(self.networks()):
            try:
                yield id, json.loads((self._networks / id).read_text())
            except (FileNotFoundError, ValueError):  # removed in the meantime, or written when the disk was full
                continue


def _write(path: Path, note: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(json.dumps(note))
    new.rename(path)


def _names(directory: Path) -> set[str]:
    if not directory.is_dir():
        return set()
    return {entry.name for entry in directory.iterdir() if not entry.name.startswith(".")}
