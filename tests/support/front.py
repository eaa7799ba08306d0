"""A loopback TCP port in front of a unix socket, for clients that speak only TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def tcp_front(path: Path) -> AsyncIterator[int]:
    """Forward a loopback port to the socket at `path`; yields the port."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(str(path))
        await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connect, "127.0.0.1", 0, family=socket.AF_INET)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    finally:
        writer.close()
