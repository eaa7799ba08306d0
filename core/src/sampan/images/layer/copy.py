"""Archives of a container's files, in both directions, each through its own confined process."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any

from sampan.images.layer.extract import Placement
from sampan.images.layer.limits import Limits
from sampan.images.layer.pack import DELETED, PRESENT
from sampan.images.layer.process import feed_worker, read_answer, read_worker

_MAIN = "sampan.images.layer.copy_worker"
_LISTED_BYTES = 256 << 10


def pack_path(namespace: int, path: bytes, name: bytes) -> AsyncGenerator[bytes, None]:
    """The tar of `path`, under the name `name`, in the root of the mount namespace of the descriptor `namespace`.

    Raises `SystemFailure`, possibly after yielding data; closing the generator ends the process.
    """
    request = _request(namespace, "path", path=os.fsdecode(path), name=os.fsdecode(name))
    return read_worker(_MAIN, request, keep=(namespace,))


def pack_tree(namespace: int) -> AsyncGenerator[bytes, None]:
    """The tar of the whole root, with exact times and extended attributes. Otherwise as `pack_path`."""
    return read_worker(_MAIN, _request(namespace, "tree"), keep=(namespace,))


def pack_changes(namespace: int, changes: Iterable[tuple[bytes, bool]]) -> AsyncGenerator[bytes, None]:
    """The layer of `changes`: paths relative to the root, and whether each was deleted. Otherwise as `pack_tree`."""
    return read_worker(_MAIN, _request(namespace, "changes"), source=_lines(changes), keep=(namespace,))


async def unpack_into(namespace: int, source: AsyncIterator[bytes], placement: Placement) -> None:
    """Unpack the archive that `source` yields, compressed or not, in the root of the mount namespace `namespace`.

    Raises `InvalidArgument` (not an archive, or one that can't be unpacked there), `DataLoss` (a corrupt one),
    `NotFound` (a hard link without a target), `Unsupported`, `SystemFailure`, and whatever `source` raises; what was
    unpacked before stays.
    """
    limits = Limits()
    request = _request(
        namespace,
        "unpack",
        limits=limits.as_dict(),
        base=os.fsdecode(placement.base),
        owner=placement.owner,
        keep_kinds=placement.keep_kinds,
    )
    read_answer(await feed_worker(_MAIN, request, source, keep=(namespace,)))


def _request(namespace: int, action: str, **more: Any) -> str:
    return json.dumps({"parent": os.getpid(), "namespace": namespace, "action": action, **more})


async def _lines(changes: Iterable[tuple[bytes, bool]]) -> AsyncIterator[bytes]:
    """The list in the worker's format."""
    piece = bytearray()
    for path, deleted in changes:
        piece += (DELETED if deleted else PRESENT) + path + b"\0"
        if len(piece) >= _LISTED_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
