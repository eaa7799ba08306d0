"""Separates stdout and stderr in one stream of frames, each with an 8-byte header and a payload.

The header is the stream (1 stdout, 2 stderr, 3 a daemon error), three zeros, and the payload's length (big-endian).
Source: Docker Engine API, ContainerAttach, "Stream format".
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.cli.errors import CliError

HEAD_BYTES = 8


class Demultiplexer:
    """Splits incoming data; payloads are passed on as they arrive, not held back until a frame is complete."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, bytes) for the payloads in `content`. Raises `CliError` for a frame with an error."""
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
