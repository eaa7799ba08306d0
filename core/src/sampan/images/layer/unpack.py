"""Unpacks layers, each in a separate process, and completes what can only be done outside of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import SystemFailure
from sampan.images.layer.growing import GrowingBlob
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.process import feed_worker, read_answer, run_worker, senseless
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from sampan.tasks import in_thread

_MAIN = "sampan.images.layer.worker"
_WORKERS = 4

Source = AsyncIterator[bytes] | Path | int
"""A blob: chunks as they come, a file, or a file descriptor to read from."""


@dataclass(frozen=True)
class Unpacked:
    """An unpacked layer.

    `digest` is the blob's, `diff_id` its tar's. `size_bytes` is the size of its files, as Docker counts, `inodes` how
    many it created. `implicit_dirs` are the directories, relative to the layer's, for which the layer has no entry:
    `adopt_parents` gives them the metadata they have below.
    """

    digest: Digest
    diff_id: Digest
    size_bytes: int
    inodes: int
    implicit_dirs: tuple[str, ...]


async def unpack(
    source: Source,
    target: Path,
    *,
    format: WhiteoutFormat,
    expected: Digest | None = None,
    size: int | None = None,
    hashed: bool = False,
    limits: Limits | None = None,
) -> Unpacked:
    """Unpack the layer from `source` into the directory `target`, while it comes in.

    The blob may be compressed with gzip, zstd, bzip2, xz or not at all; its digest and size (in bytes) are checked
    against `expected` and `size`, or with `hashed` only the size, as the caller has computed the digest of these very
    bytes. Until then, nothing written is valid: after an error, the caller discards `target`. As many layers are
    unpacked at once as there are processors, but at least four, as some wait for the network; others, and their
    chunks, wait for their turn. A cancelled call ends its process.

    Raises `DataLoss` (not the blob that was asked for, or a corrupt one), `InvalidArgument` (not a layer, or it
    exceeds `limits`), `NotFound` (a hard link to a file of a lower layer, which needs `APPLY`), `Unsupported` (an
    extended attribute that the file system does not support), `SystemFailure` (disk full and the like), and whatever
    `source` raises.
    """
    blob = {"expected": expected, "size": size, "hashed": hashed, "growth": None}
    request = _request(target, format, limits or Limits(), blob)
    async with _places():
        answer = await _run(request, source)
    return await in_thread(_finished, target, answer, expected)


async def unpack_growing(
    source: GrowingBlob, target: Path, *, format: WhiteoutFormat, limits: Limits | None = None
) -> Unpacked:
    """As `unpack`, while somebody else writes and hashes the blob; returns once its digest is set."""
    blob = {"expected": None, "size": source.size_bytes, "hashed": True, "growth": source.growth}
    request = _request(target, format, limits or Limits(), blob)
    async with _places():
        answer = await run_worker(_MAIN, request, source.source, keep=(source.growth,))
    return await in_thread(_finished, target, answer, await source.digest)


def _request(target: Path, format: WhiteoutFormat, limits: Limits, blob: dict[str, Any]) -> str:
    where = {"directory": str(target.absolute()), "parent": os.getpid()}
    return json.dumps({**where, "whiteouts": format.value, "limits": limits.as_dict(), **blob})


_semaphores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


def _places() -> asyncio.Semaphore:
    """The event loop's limit of workers."""
    loop = asyncio.get_running_loop()
    return _semaphores.setdefault(loop, asyncio.Semaphore(max(_WORKERS, os.cpu_count() or 1)))


async def _run(request: str, source: Source) -> bytes:
    """Run a worker with `source` as its standard input, and return its answer to `request`."""
    if isinstance(source, int):
        return await run_worker(_MAIN, request, source)
    if isinstance(source, Path):
        with source.open("rb") as blob:
            return await run_worker(_MAIN, request, blob.fileno())
    return await feed_worker(_MAIN, request, source)


def _finished(target: Path, answer: bytes, blob: Digest | None) -> Unpacked:
    """Check an answer, which comes from a process that has read hostile bytes, and do the rest.

    `blob` is the digest if the caller computed it. The answer may be large, so this must not run in the event loop.
    """
    document = read_answer(answer)
    try:
        implicit = os.fsdecode(base64.b64decode(document["implicit_dirs"]))
        trusted = [
            (base64.b64decode(path), base64.b64decode(name), base64.b64decode(value))
            for path, name, value in document["trusted"]
        ]
        done = Unpacked(
            Digest(document["digest"] or blob or ""),
            Digest(document["diff_id"] or blob or ""),
            int(document["size_bytes"]),
            int(document["inodes"]),
            tuple(implicit.split("\0")) if implicit else (),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise senseless(answer) from error
    if trusted:
        _set_trusted(target, trusted)
    return done


def _set_trusted(target: Path, attributes: list[tuple[bytes, bytes, bytes]]) -> None:
    """Set the extended attributes that the worker is not allowed to set: usually opaque marks."""
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path, name, value in attributes:
            if not name.startswith(b"trusted."):
                raise SystemFailure(f"the unpacker asks for the extended attribute {os.fsdecode(name)}")
            _set_xattr(root, path, name, value)
    except OSError as error:
        raise SystemFailure(f"{error.filename}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(root)


def _set_xattr(root: int, path: bytes, name: bytes, value: bytes) -> None:
    try:
        fd = openat2(root, path or b".", os.O_PATH | os.O_NOFOLLOW, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except (FileNotFoundError, NotADirectoryError):
        return  # a later entry replaced it
    try:
        os.setxattr(f"/proc/self/fd/{fd}", name, value)
    finally:
        os.close(fd)
