"""The DNS servers of all sandboxes: one for each container on a user-defined network."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from pathlib import Path

from sampan.network import gateway
from sampan.network.dns.names import Names
from sampan.network.dns.relay import Relay, Upstream
from sampan.network.dns.server import NameServer, ServerSettings
from sampan.network.dns.upstream import HostServers
from sampan.network.endpoints import Endpoints
from sampan.network.files import ContainerFiles, asks_for_search
from sampan.network.records import PREDEFINED, EndpointRecord
from sampan.network.sandbox import Sandboxes

_FIRST_PORT, _PORTS = 32768, 28232  # the kernel's usual range for clients, which programs don't listen on


class NameServers:
    """Starts and stops them. Used from the event loop only."""

    def __init__(self, endpoints: Endpoints, sandboxes: Sandboxes, names: Names, resolv_conf: Path) -> None:
        self._endpoints = endpoints
        self._sandboxes = sandboxes
        self._names = names
        self._host = HostServers(resolv_conf)
        self._relay = Relay()
        self._running: dict[str, NameServer] = {}

    async def start(self, container_id: str, files: ContainerFiles) -> None:
        """Serve the container's sandbox, if necessary and not done yet. Raises `SystemFailure`."""
        if container_id in self._running or not self._named(container_id):
            return
        settings = ServerSettings(
            endpoints=lambda: self._named(container_id),
            upstream=lambda: self._upstream(container_id, files),
            single_labels=not asks_for_search(files),
        )
        fd = self._sandboxes.fd(container_id)
        sockets = await asyncio.to_thread(self._sandboxes.kernel.listen_for_names, fd, _port_of(container_id))
        server = NameServer(sockets, self._names, self._relay, settings)
        self._running[container_id] = server
        await server.start()

    def stop(self, container_id: str) -> None:
        """Stop serving the container, if it was served."""
        if (server := self._running.pop(container_id, None)) is not None:
            server.close()

    def close(self) -> None:
        """Stop all."""
        for container_id in list(self._running):
            self.stop(container_id)

    def _named(self, container_id: str) -> Sequence[EndpointRecord]:
        return [one for one in self._endpoints.of(container_id) if one.network_name not in PREDEFINED]

    def _upstream(self, container_id: str, files: ContainerFiles) -> Sequence[Upstream]:
        """The servers to ask about unknown names.

        Servers that the user chose are queried from the container's network. The host's own are used only for
        containers with access to the outside: for others, names would be a way out (CVE-2024-29018).
        """
        if files.dns:
            fd = self._sandboxes.fd(container_id)
            return [Upstream(server, fd) for server in files.dns if server != "127.0.0.11"]
        if any(map(gateway.leads_out, self._endpoints.of(container_id))):
            return self._host.get()
        return ()


def _port_of(container_id: str) -> int:
    """A port that is probably free, and stays the same across restarts, so that the container's long flows go on."""
    return _FIRST_PORT + zlib.crc32(container_id.encode()) % _PORTS
