"""Forwards queries to other DNS servers; query and answer are passed on unchanged."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from sampan.network.dns import message
from sampan.network.dns.message import Query
from sampan.syscalls.netns import run_in_netns

_log = logging.getLogger(__name__)

MOST_AT_ONCE = 4096  # each holds a descriptor; each DNS server also has its own limit
MOST_SERVERS = 3
TIMEOUT_S = 4.0
"""As in Docker (moby daemon/libnetwork/resolver.go)."""


@dataclass(frozen=True)
class Upstream:
    """A DNS server. It is queried from the network namespace `netns_fd`, or else from the host's."""

    address: str
    netns_fd: int | None = None
    port: int = 53


class Relay:
    """Relays queries, up to a total limit; there is one for the whole daemon."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._under_way = 0

    async def ask(self, packet: bytes, query: Query, servers: Sequence[Upstream], *, tcp: bool) -> bytes:
        """The answer of the first server that has one; asks over TCP if the client did."""
        if self._under_way >= MOST_AT_ONCE:
            return message.refusal(query, message.REFUSED)
        self._under_way += 1
        try:
            for server in servers[:MOST_SERVERS]:
                found = await self._ask_one(packet, query, server, tcp=tcp)
                if found is not None:
                    return found
        finally:
            self._under_way -= 1
        return message.refusal(query, message.SERVER_FAILURE)

    async def _ask_one(self, packet: bytes, query: Query, server: Upstream, *, tcp: bool) -> bytes | None:
        """Ask one server; `None` if it has no answer, fails or refuses, so that the next one is asked."""
        id = secrets.randbelow(1 << 16)  # as unpredictable as the port, since what comes back is trusted
        exchange = _over_tcp if tcp else _over_udp
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await exchange(server, message.with_id(packet, id), id, query)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            _log.debug("name server %s: %s", server.address, error or "no answer")
            return None
        if found is None or message.response_code(found) in (message.SERVER_FAILURE, message.REFUSED):
            return None
        return message.with_id(found, query.id)


async def _over_udp(server: Upstream, packet: bytes, id: int, query: Query) -> bytes:
    loop = asyncio.get_running_loop()
    with await _socket(server, socket.SOCK_DGRAM) as connection:
        await loop.sock_connect(connection, (server.address, server.port))
        await loop.sock_sendall(connection, packet)
        while True:
            received = await loop.sock_recv(connection, message.MOST_SIZE)
            if message.answers_query(received, id, query):
                return received


async def _over_tcp(server: Upstream, packet: bytes, id: int, query: Query) -> bytes | None:
    loop = asyncio.get_running_loop()
    with await _socket(server, socket.SOCK_STREAM) as connection:
        await loop.sock_connect(connection, (server.address, server.port))
        await loop.sock_sendall(connection, len(packet).to_bytes(2, "big") + packet)
        length = int.from_bytes(await _exactly(connection, 2), "big")
        received = await _exactly(connection, length)
    return received if message.answers_query(received, id, query) else None


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < size:
        part = await loop.sock_recv(connection, size - len(received))
        if not part:
            raise asyncio.IncompleteReadError(received, size)
        received += part
    return received


async def _socket(server: Upstream, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET

    def make() -> socket.socket:
        return socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    if server.netns_fd is None:
        return make()
    return await asyncio.to_thread(run_in_netns, server.netns_fd, make)
