"""The framing by which stdout and stderr share one connection.

Each piece of output has an 8-byte header: the stream's number, three zeros, and the length as a big-endian 32-bit
number. Source: moby api/docs, "Attach to a container", stream format.
"""

from __future__ import annotations

import struct

STDIN, STDOUT, STDERR = 0, 1, 2
RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"
_MULTIPLEXED_SINCE = (1, 42)

header = struct.Struct(">BxxxL").pack
"""`header(stream, length)`: the 8 bytes before a piece of output."""


def content_type(version: tuple[int, int], *, multiplexed: bool) -> str:
    """The content type for a framing; older clients know only one, and tell the framing by the TTY setting."""
    return MULTIPLEXED_STREAM if multiplexed and version >= _MULTIPLEXED_SINCE else RAW_STREAM
