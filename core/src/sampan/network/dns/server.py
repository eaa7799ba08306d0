"""One sandbox's DNS server: it answers queries about known names and relays the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sampan.network.dns import message
from sampan.network.dns.message import Query
from sampan.network.dns.names import Names
from sampan.network.dns.relay import Relay, Upstream
from sampan.network.kernel import NameSockets
from sampan.network.records import EndpointRecord

_log = logging.getLogger(__name__)

_BATCH = 64
"""The number of datagrams answered before the event loop gets a turn."""

_MOST_CONNECTIONS = 64
_MOST_RELAYED = 256
"""The limit for one sandbox, so that it can't keep the others from asking."""

_IDLE_S = 10.0
_ADDRESS_VERSIONS = {message.A: 4, message.AAAA: 6}


@dataclass(frozen=True)
class ServerSettings:
    """What a DNS server needs to know about its sandbox.

    `endpoints` returns the container's endpoints on user-defined networks, the one with the default routes first;
    `upstream` returns the servers to ask about unknown names. `single_labels`: names without a dot are forwarded too;
    without it, the container sets `ndots`, and its libc's resolver adds search domains.
    """

    endpoints: Callable[[], Sequence[EndpointRecord]]
    upstream: Callable[[], Sequence[Upstream]]
    single_labels: bool = True


class NameServer:
    """Serves one sandbox from the event loop until closed."""

    def __init__(self, sockets: NameSockets, names: Names, relay: Relay, settings: ServerSettings) -> None:
        self._sockets = sockets
        self._names = names
        self._relay = relay
        self._settings = settings
        self._turn = 0
        self._relaying: set[asyncio.Task[None]] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Start answering."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sockets.udp, self._receive)
        self._listener = await asyncio.start_server(self._converse, sock=self._sockets.tcp)

    def close(self) -> None:
        """Stop answering, and close the sockets."""
        asyncio.get_running_loop().remove_reader(self._sockets.udp)
        if self._listener is not None:
            self._listener.close()
        for task in self._relaying | self._conversations:
            task.cancel()
        self._sockets.close()

    # --- over UDP

    def _receive(self) -> None:
        for _ in range(_BATCH):
            try:
                packet, client = self._sockets.udp.recvfrom(message.MOST_SIZE)
            except OSError:  # nothing more
                return
            query = message.parse_query(packet)
            if query is None:
                continue
            known = self.answer(query, most=None)
            if known is None and len(self._relaying) >= _MOST_RELAYED:
                known = message.refusal(query, message.REFUSED)
            if known is not None:
                self._send(known, client)
                continue
            task = asyncio.create_task(self._relay_datagram(packet, query, client))
            self._relaying.add(task)
            task.add_done_callback(self._relaying.discard)

    async def _relay_datagram(self, packet: bytes, query: Query, client: tuple[str, int]) -> None:
        self._send(await self._ask(packet, query, tcp=False), client)

    def _send(self, packet: bytes, client: tuple[str, int]) -> None:
        try:
            self._sockets.udp.sendto(packet, client)
        except OSError as error:  # the client will ask again
            _log.debug("an answer can't be sent to %s: %s", client, error)

    # --- over TCP

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._conversations) >= _MOST_CONNECTIONS:
            writer.close()
            return
        self._conversations.add(task)
        try:
            while True:
                async with asyncio.timeout(_IDLE_S):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    packet = await reader.readexactly(length)
                query = message.parse_query(packet)
                if query is None:
                    return
                known = self.answer(query, most=message.MOST_SIZE)
                found = await self._ask(packet, query, tcp=True) if known is None else known
                writer.write(len(found).to_bytes(2, "big") + found)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the client is gone or silent, or the server is closing
        finally:
            self._conversations.discard(task)
            writer.close()

    # --- answers

    def answer(self, query: Query, *, most: int | None) -> bytes | None:
        """The answer from known names, of at most `most` bytes; `None` if other servers must be asked."""
        if not message.is_standard(query):
            return None
        if query.type == message.PTR:
            return self._answer_reverse(query, most)
        found = self._names.find(query.name, self._settings.endpoints())
        if not found:
            if not self._settings.single_labels and query.type in _ADDRESS_VERSIONS and b"." not in query.name:
                return message.answer(query, [])
            return None
        if query.type in _ADDRESS_VERSIONS:
            return message.answer(query, self._addresses(found, _ADDRESS_VERSIONS[query.type]), most=most)
        # For a name without MX records, mail goes to its address (RFC 5321 section 5.1), but only if the answer says
        # so.
        return message.answer(query, []) if query.type == message.MX else None

    def _addresses(self, endpoints: Sequence[EndpointRecord], version: int) -> list[bytes]:
        """The addresses as record data, rotated each time, because clients take the first."""
        found = [
            message.address_data(address.ip)
            for endpoint in endpoints
            for address in endpoint.addresses
            if address.version == version
        ]
        if len(found) > 1:
            self._turn += 1
            start = self._turn % len(found)
            found = found[start:] + found[:start]
        return found

    def _answer_reverse(self, query: Query, most: int | None) -> bytes | None:
        address = message.reversed_address(query.name)
        if address is None:
            return None
        name = self._names.name_of(address, self._settings.endpoints())
        return message.answer(query, [message.name_data(name)], most=most) if name else None

    async def _ask(self, packet: bytes, query: Query, *, tcp: bool) -> bytes:
        return await self._relay.ask(packet, query, self._settings.upstream(), tcp=tcp)
