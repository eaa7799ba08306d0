"""How stdout and stderr share one connection.

Each piece of output has a header of 8 bytes: the stream's number, three zeros, and the length as a big-endian
32-bit number. Source: moby api/docs, "Attach to a container", stream format.
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
    """How an answer's head names the framing; older clients know one name only, and know by the TTY."""
    return MULTIPLEXED_STREAM if multiplexed and version >= _MULTIPLEXED_SINCE else RAW_STREAM
