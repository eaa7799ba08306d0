"""Unpacks layers, each in a process of its own, and sets right what can only be set right outside of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import importlib.util
import json
import os
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from sampan import errdefs
from sampan.digest import Digest
from sampan.errdefs import SystemFailure
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_START = "import sys; sys.path += sys.argv[2:]; from sampan.images.layer.worker import main; main()"
_PIPE_BYTES = 1 << 20
_ANSWER_BYTES = 256 << 20
_WORKERS = 4
_ERRORS = ("DataLoss", "InvalidArgument", "NotFound", "SystemFailure", "Unsupported")

Source = AsyncIterator[bytes] | Path | int
"""A blob: chunks as they come, a file, or a file descriptor to read from."""


@dataclass(frozen=True)
class Unpacked:
    """A layer on the disk.

    `digest` is the blob's, `diff_id` its tar's. `size_bytes` is the size of the files in it, as Docker counts,
    `inodes` how many it made. `implicit_dirs` are the directories, relative to the layer's, for which the layer
    has no entry: `adopt_parents` gives them the looks they have below.
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
    limits: Limits | None = None,
) -> Unpacked:
    """Unpack the layer from `source` into the directory `target`, while it comes in.

    The blob may be compressed with gzip, zstd, bzip2, xz or not at all; its digest and size (in bytes) are checked
    against `expected` and `size`, and what is written before that counts for nothing: after an error the caller
    throws `target` away. As many layers are unpacked at once as there are processors, and at least four, as some wait
    for the network; others wait their turn, and so do their chunks. A cancelled call ends its process.

    Raises `DataLoss` (not the blob that was asked for, or a broken one), `InvalidArgument` (no layer, or over
    `limits`), `NotFound` (a hard link to a file of a lower layer: only `APPLY` can make it), `Unsupported` (an
    extended attribute that the file system can't keep), `SystemFailure` (disk full and the like), and whatever
    `source` raises.
    """
    request = _request(target, format, expected, size, limits or Limits())
    async with _places():
        answer = _checked(await _run(request, source))
    if answer["trusted"]:
        await asyncio.to_thread(_set_trusted, target, answer["trusted"])
    return Unpacked(
        Digest(answer["digest"]),
        Digest(answer["diff_id"]),
        answer["size_bytes"],
        answer["inodes"],
        tuple(answer["implicit_dirs"]),
    )


def _request(target: Path, format: WhiteoutFormat, expected: Digest | None, size: int | None, limits: Limits) -> str:
    return json.dumps(
        {
            "directory": str(target.absolute()),
            "parent": os.getpid(),
            "whiteouts": format.value,
            "expected": expected,
            "size": size,
            "limits": limits.as_dict(),
        }
    )


_semaphores: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


def _places() -> asyncio.Semaphore:
    """The running loop's bound on workers."""
    loop = asyncio.get_running_loop()
    return _semaphores.setdefault(loop, asyncio.Semaphore(max(_WORKERS, os.cpu_count() or 1)))


async def _run(request: str, source: Source) -> bytes:
    """A worker's answer to `request`, its standard input being `source`."""
    if isinstance(source, int):
        return await _work(request, source)
    if isinstance(source, Path):
        with source.open("rb") as blob:
            return await _work(request, blob.fileno())
    reading, writing = _pipe()
    feeding = asyncio.create_task(_feed(writing, source))
    try:
        answer = await _work(request, reading, close=True)
        # Done or not: a worker that failed has not read to the end, and its pipe is broken.
        if feeding.done():
            feeding.result()
        return answer
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _work(request: str, blob: int, *, close: bool = False) -> bytes:
    # In this thread, not in a pool's: the worker ends with the thread that started it (PR_SET_PDEATHSIG). Not by
    # asyncio: its kill() may reap the process, of which its own watcher then knows nothing.
    try:
        process = subprocess.Popen(  # noqa: ASYNC220  # a vfork and an exec
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, request, *_module_paths()],
            stdin=blob,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
        )
    finally:
        if close:
            os.close(blob)
    assert process.stdout is not None  # noqa: S101  # a pipe, as asked for above
    with process.stdout:
        try:
            return await _read_answer(process.stdout.fileno())
        except BaseException:
            process.kill()
            raise
        finally:
            # Killed or not, it may take a while to leave a write to a slow disk.
            await asyncio.shield(asyncio.to_thread(process.wait))


async def _read_answer(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    answer = bytearray()
    while len(answer) <= _ANSWER_BYTES:
        await _ready(fd, loop.add_reader, loop.remove_reader)
        chunk = os.read(fd, _PIPE_BYTES)
        if not chunk:
            return bytes(answer)
        answer += chunk
    raise SystemFailure("the unpacker answers without end")


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A user's pipes together are bounded (fs.pipe-user-pages-soft); the usual 64 KiB do as well, only slower.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(writing, False)
    return reading, writing


async def _feed(fd: int, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks to the pipe `fd`, as fast as it is emptied, and close it; stop when nobody reads it."""
    loop = asyncio.get_running_loop()
    try:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]
                except BlockingIOError:
                    await _ready(fd, loop.add_writer, loop.remove_writer)
    except BrokenPipeError:
        pass  # the worker has failed, and says why
    finally:
        os.close(fd)


async def _ready(fd: int, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]) -> None:
    """Wait until `fd` can be read or written, as `add` and `remove` of the loop say."""
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


def _environment() -> dict[str, str]:
    """The worker's environment: no secrets, and no file that it reads by itself.

    To shrink the memory of a second arena, glibc reads /proc/sys/vm/overcommit_memory, which is the image's by then.
    """
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"MALLOC_ARENA_MAX": "1", **kept}


@cache
def _module_paths() -> tuple[str, ...]:
    """Where the worker, started without site-packages for speed, finds what it imports."""
    names = ("sampan", "isal") if sys.version_info >= (3, 14) else ("sampan", "isal", "backports")
    paths: dict[str, None] = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        for location in (spec and spec.submodule_search_locations) or ():
            paths[str(Path(location).parent)] = None
    return tuple(paths)


def _checked(answer: bytes) -> dict[str, Any]:
    """A worker's answer, taken for what it is: written by a process that has seen hostile bytes."""
    try:
        document = json.loads(answer)
        if "error" in document:
            kind = document["error"] if document["error"] in _ERRORS else "SystemFailure"
            raise getattr(errdefs, kind)(str(document["message"]))
        document["trusted"] = [
            (os.fsencode(path), os.fsencode(name), base64.b64decode(value))
            for path, name, value in document["trusted"]
        ]
        document["implicit_dirs"] = [str(path) for path in document["implicit_dirs"]]
        document["size_bytes"], document["inodes"] = int(document["size_bytes"]), int(document["inodes"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        text = answer[-500:].decode("utf-8", "replace").strip()
        raise SystemFailure(f"the unpacker failed: {text or 'it ended without an answer'}") from error
    return cast("dict[str, Any]", document)


def _set_trusted(target: Path, attributes: list[tuple[bytes, bytes, bytes]]) -> None:
    """Set the extended attributes that the worker may not set: opaque marks, mostly."""
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
