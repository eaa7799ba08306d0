"""The HTTP server: listeners, connections, and a shutdown with a time limit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from sampan.api.listener import BACKLOG, Listener, TlsFiles
from sampan.api.protocol import HttpLimits, HttpProtocol
from sampan.api.tls import TlsProtocol

__all__ = ["HttpLimits", "Listener", "Server", "TlsFiles"]

_KEEP_ALIVE_S = 300
_TLS_HANDSHAKE_S = 10.0


class Server:
    """Serves an ASGI app in the running loop. Does not handle signals."""

    def __init__(self, app: ASGIApp, listeners: Sequence[Listener], limits: HttpLimits | None = None) -> None:
        self._listeners = tuple(listeners)
        self._limits = limits or HttpLimits()
        self._config = Config(
            app,
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
        )
        self._state = ServerState()
        self._connections: set[HttpProtocol] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[tuple[Path, int]] = []
        self._closed = asyncio.Event()

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets, to learn their addresses."""
        return [listening for server in self._servers for listening in server.sockets]

    async def start(self) -> None:
        """Start listening. If an address fails, raises `SampanError` in one sentence, with all sockets closed."""
        self._config.load()
        try:
            for listener in self._listeners:
                await self._open(listener)
        except BaseException:
            await self.close(0)
            raise

    async def serve(self) -> None:
        """Listen, and serve until `close` is called."""
        await self.start()
        await self._closed.wait()

    async def close(self, grace_s: float = 5.0) -> None:
        """Stop listening, abort raw streams, wait up to `grace_s` for requests to end, and abort the rest."""
        for server in self._servers:
            server.close()
        self._unlink()
        for connection in list(self._connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks and grace_s:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in list(self._connections):
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._closed.set()

    async def _open(self, listener: Listener) -> None:
        context = listener.tls_context()
        for listening in listener.open():
            connect: Callable[[], asyncio.Protocol] = partial(self._connect, listener.role)
            if context:
                connect = partial(TlsProtocol, context, connect, _TLS_HANDSHAKE_S)
            server = await asyncio.get_running_loop().create_server(connect, sock=listening, backlog=BACKLOG)
            self._servers.append(server)
            if listener.address.startswith("unix://"):
                self._note_path(Path(listening.getsockname()))

    def _connect(self, role: str) -> HttpProtocol:
        return HttpProtocol(self._config, self._state, role, self._limits, self._connections)

    def _note_path(self, path: Path) -> None:
        self._paths.append((path, path.stat().st_ino))

    def _unlink(self) -> None:
        """Remove our socket files, unless another process has replaced them."""
        for path, inode in self._paths:
            with suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()
        self._paths.clear()
