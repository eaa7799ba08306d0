"""The two ways to a process's stdio: conmon's socket (a container's init) and pipes or a terminal (an exec)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from sampan.runtime import conmon
from sampan.runtime.interface import STDERR, STDOUT, ExitStatus
from sampan.runtime.packets import Packets
from sampan.syscalls.unix_diag import peer_inode

# conmon marks each packet with the pipe it came from (src/utils.h: STDOUT_PIPE 2, STDERR_PIPE 3).
_STREAMS = {2: STDOUT, 3: STDERR}
_STDIN_BYTES = 8192  # conmon reads at most 32767 bytes of a packet and loses the rest
_PIPE_BYTES = 65536
_ACCEPT_LOOK_S = 0.001
_ACCEPT_PATIENCE_S = 5


def connect(bundle: Path) -> socket.socket:
    """Connect to the attach socket of the bundle's conmon. Blocks; raises `OSError` if conmon is gone."""
    directory = os.open(bundle, os.O_PATH | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # Through /proc, as a socket's path is limited to 107 bytes and a bundle's may be longer.
        connection.connect(f"/proc/self/fd/{directory}/{conmon.ATTACH_SOCKET}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    connection.setblocking(False)
    return connection


async def until_accepted(connection: socket.socket, ended: asyncio.Future[ExitStatus]) -> None:
    """Wait until conmon has accepted the connection, or has ended.

    A successful connect is not enough. poll(2) checks one descriptor after another: if conmon was delayed between its
    listening socket and the container's stdout, it sees output, but not the connection made before that output, which
    then goes only to the log. There is no event for an accept, but the kernel can be asked.

    A conmon that waits for another, slow caller accepts nothing. Not to keep this one waiting as long, it is then
    attached without having been accepted yet.
    """
    deadline = time.monotonic() + _ACCEPT_PATIENCE_S
    while peer_inode(connection) == 0 and not ended.done() and time.monotonic() < deadline:
        await asyncio.wait((ended,), timeout=_ACCEPT_LOOK_S)


class SocketAttached:
    """`Attached` through conmon.

    conmon may take a caller's disconnection for the end of the container's stdin. A caller that never wrote must not
    cause that, so its connection is only shut down for reading, and passed to `park`, which keeps it open as long as
    necessary. `widen` is called once, in a worker thread, when there is much to read.
    """

    def __init__(
        self, connection: socket.socket, *, park: Callable[[socket.socket], None], widen: Callable[[], None]
    ) -> None:
        self._socket = connection
        self._packets = Packets(connection)
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._park = park
        self._widen: Callable[[], None] | None = widen
        self._wrote = False
        self._closed = False

    async def read(self) -> tuple[int, bytes] | None:
        while not self._pieces:
            try:
                pieces = await self._packets.read()
            except OSError:  # closed by ourselves
                return None
            if not pieces:
                return None
            self._pieces.extend((_STREAMS.get(mark, STDOUT), content) for mark, content in pieces)
            if self._packets.crowded and self._widen:
                widen, self._widen = self._widen, None
                await asyncio.to_thread(widen)
                self._packets.widened()
        return self._pieces.popleft()

    async def write(self, content: bytes) -> None:
        self._wrote = True
        loop = asyncio.get_running_loop()
        for start in range(0, len(content), _STDIN_BYTES):
            await loop.sock_sendall(self._socket, content[start : start + _STDIN_BYTES])

    async def close_stdin(self) -> None:
        self._wrote = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._packets.close()
        if self._wrote:
            self._socket.close()
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._park(self._socket)


class FileAttached:
    """`Attached` through our ends of pipes or of a terminal.

    Output ends with the process, even if others hold its pipes.

    `outputs` maps file descriptors to streams; a terminal's single descriptor is also `stdin`. They are owned by this
    object and become non-blocking.
    """

    def __init__(self, outputs: dict[int, int], stdin: int | None) -> None:
        self._outputs = dict(outputs)
        self._stdin = stdin
        self._terminal = stdin in outputs
        self._has_room: asyncio.Future[None] | None = None
        self._wanted = True  # until the caller detaches or has read everything
        self._ended = asyncio.Event()
        for fd in {*outputs, *([stdin] if stdin is not None else [])}:
            os.set_blocking(fd, False)

    @property
    def terminal(self) -> int:
        """The terminal's descriptor. Raises `OSError` if there is none."""
        if not self._terminal or self._stdin is None:
            raise OSError("no terminal")
        return self._stdin

    async def read(self) -> tuple[int, bytes] | None:
        while self._outputs:
            ended = self._ended.is_set()
            for fd in list(self._outputs):
                content = self._take(fd)
                if content:
                    return self._outputs[fd], content
            if ended:
                break
            if self._outputs:
                await self._readable()
        self._wanted = False
        if self._ended.is_set():
            self._release()
        return None

    async def write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            if self._stdin is None:
                raise BrokenPipeError("stdin is closed")
            try:
                view = view[os.write(self._stdin, view[:_PIPE_BYTES]) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:  # EIO: nobody has the terminal open any more
                raise BrokenPipeError("stdin is closed") from error

    async def close_stdin(self) -> None:
        if not self._terminal:
            self._let_go_of_stdin()

    async def close(self) -> None:
        """Detach: close stdin, and discard output until the process ends, so that it keeps running."""
        self._wanted = False
        await self.close_stdin()
        if self._ended.is_set():
            self._release()
        loop = asyncio.get_running_loop()
        for fd in self._outputs:
            loop.add_reader(fd, self._take, fd)

    def end(self) -> None:
        """Called when the process has ended: what is in the pipes is the last of its output."""
        self._ended.set()
        if not self._wanted:
            self._release()

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        for fd in list(self._outputs):
            loop.remove_reader(fd)
        for fd in self._outputs:
            if fd != self._stdin:
                os.close(fd)
        self._outputs = {}
        self._let_go_of_stdin()

    def _let_go_of_stdin(self) -> None:
        """Close it, and wake a writer that waits for room in it, as the number may soon be another file's."""
        if self._stdin is None:
            return
        if self._has_room is not None:
            asyncio.get_running_loop().remove_writer(self._stdin)
            _resolve(self._has_room)
        os.close(self._stdin)
        self._stdin = None

    def _take(self, fd: int) -> bytes:
        """Read what `fd` has now; at end of file it is forgotten, and closed unless it is the terminal."""
        try:
            content = os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:  # EIO is a terminal's end of file
            content = b""
        if not content:
            asyncio.get_running_loop().remove_reader(fd)
            del self._outputs[fd]
            if fd != self._stdin:
                os.close(fd)
        return content

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        fds = list(self._outputs)
        ready = loop.create_future()
        ended = asyncio.ensure_future(self._ended.wait())
        for fd in fds:
            loop.add_reader(fd, _resolve, ready)
        try:
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            for fd in fds:
                loop.remove_reader(fd)

    async def _writable(self) -> None:
        """Wait for room in stdin, or until it is closed."""
        loop = asyncio.get_running_loop()
        self._has_room = loop.create_future()
        if self._stdin is not None:
            loop.add_writer(self._stdin, _resolve, self._has_room)
        try:
            await self._has_room
        finally:
            self._has_room = None
            if self._stdin is not None:
                loop.remove_writer(self._stdin)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
