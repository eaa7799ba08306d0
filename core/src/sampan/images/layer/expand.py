"""Decompresses an archive in a confined process before anybody here parses it."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from tempfile import TemporaryDirectory

from sampan.images.layer.decompress import MAGIC_BYTES, compression_of
from sampan.images.layer.limits import Limits
from sampan.images.layer.process import read_worker

_MAIN = "sampan.images.layer.expand_worker"


async def expanded(source: AsyncIterator[bytes], limits: Limits) -> AsyncGenerator[bytes, None]:
    """What `source` yields, decompressed if necessary; an uncompressed archive needs no process.

    Raises `DataLoss` if it is truncated or corrupt, `InvalidArgument` if it exceeds `limits`, and whatever `source`
    raises; closing the generator ends the process.
    """
    head = b""
    while len(head) < MAGIC_BYTES and (chunk := await anext(source, b"")):
        head += chunk
    whole = _again(head, source)
    if compression_of(head) is None:
        async for chunk in whole:
            yield chunk
        return
    with TemporaryDirectory(prefix="sampan-expand-") as empty:
        request = json.dumps({"parent": os.getpid(), "directory": empty, "limits": limits.as_dict()})
        async with aclosing(read_worker(_MAIN, request, source=whole)) as chunks:
            async for chunk in chunks:
                yield chunk


async def _again(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if head:
        yield head
    async for chunk in rest:
        yield chunk
