"""Stdout and stderr out of one stream: frames of an 8-byte head and a payload.

The head is the stream (1 stdout, 2 stderr, 3 an error of the daemon), three zeros, the payload's length (big-endian).
Source: Docker Engine API, ContainerAttach, "Stream format".
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.cli.errors import CliError

HEAD_BYTES = 8


class Demultiplexer:
    """Splits what arrives; payloads are passed on as they come, not held back until a frame is whole."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, bytes) of what `content` adds. Raises `CliError` for a frame that reports an error."""
        while content:
            if not self._left:
                missing = HEAD_BYTES - len(self._head)
                self._head, content = self._head + content[:missing], content[missing:]
                if len(self._head) == HEAD_BYTES:
                    self._begin()
                continue
            payload, content = content[: self._left], content[self._left :]
            self._left -= len(payload)
            if self._stream == 3:
                raise CliError(f"error from daemon in stream: {payload.decode(errors='replace')}")
            yield self._stream, payload

    def _begin(self) -> None:
        self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
        if self._stream > 3:
            raise CliError(f"Unrecognized input header: {self._stream}")
        self._head = b""
