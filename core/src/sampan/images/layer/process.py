"""Starts the confined processes that read and write layers and containers' files, and communicates with them.

A worker is a module with a `main`: its only argument is a JSON object, its standard error is its answer, another JSON
object (`error` and `message`, or the result), its standard input and output are bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, cast

from sampan import errdefs
from sampan.errdefs import SystemFailure
from sampan.tasks import end, settled

START = "import sys; sys.path += sys.argv[2:]; from {} import main; main()"
_PIPE_BYTES = 1 << 20
_ANSWER_BYTES = 32 << 20  # more than `Limits.told_bytes` allows, twice and in base64
_ERRORS = ("DataLoss", "InvalidArgument", "NotFound", "SystemFailure", "Unsupported")


async def run_worker(
    module: str, request: str, stdin: int, *, stdout: int = subprocess.DEVNULL, keep: Sequence[int] = ()
) -> bytes:
    """Run the worker `module`, and return its answer. A cancelled call ends the process.

    `stdin` and `stdout` are file descriptors for its streams; it has those in `keep` under the same numbers.
    """
    async with _worker(module, request, stdin, stdout, keep) as process:
        return await _answer_of(process)


async def feed_worker(module: str, request: str, source: AsyncIterator[bytes], *, keep: Sequence[int] = ()) -> bytes:
    """As `run_worker`, with what `source` yields as its standard input. Raises what `source` raises."""
    async with AsyncExitStack() as held:
        with ExitStack() as given:
            stdin, feeding = await held.enter_async_context(_fed(source))
            given.callback(os.close, stdin)
            process = await held.enter_async_context(_worker(module, request, stdin, subprocess.DEVNULL, keep))
        answer = await _answer_of(process)
        # Whether done or not: a worker that failed has not read to the end, and its pipe is broken.
        if feeding.done():
            feeding.result()
        return answer


async def read_worker(
    module: str, request: str, *, source: AsyncIterator[bytes] | None = None, keep: Sequence[int] = ()
) -> AsyncGenerator[bytes, None]:
    """Yield what the worker writes to its standard output, as it comes; `source` is its input.

    Raises the error in its answer, after its output. Closing the generator ends the process.
    """
    async with AsyncExitStack() as held:
        reading, writing = _pipe()
        held.callback(os.close, reading)
        os.set_blocking(reading, False)
        with ExitStack() as given:
            given.callback(os.close, writing)
            stdin, feeding = subprocess.DEVNULL, None
            if source is not None:
                stdin, feeding = await held.enter_async_context(_fed(source))
                given.callback(os.close, stdin)
            process = await held.enter_async_context(_worker(module, request, stdin, writing, keep))
        while chunk := await _read(reading):
            yield chunk
        answer = await _answer_of(process)
        if feeding is not None and feeding.done():
            feeding.result()
        read_answer(answer)


def read_answer(answer: bytes) -> dict[str, Any]:
    """Parse a worker's answer. Raises the error in it, or `SystemFailure` if the answer is invalid."""
    try:
        document = json.loads(answer)
        error = document.get("error")
        message = str(document["message"]) if error else ""
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise senseless(answer) from problem
    if error:
        raise getattr(errdefs, error if error in _ERRORS else "SystemFailure")(message)
    return cast("dict[str, Any]", document)


def senseless(answer: bytes) -> SystemFailure:
    """The error for a worker that did not answer properly."""
    text = answer[-500:].decode("utf-8", "replace").strip()
    return SystemFailure(f"the unpacker failed: {text or 'it ended without an answer'}")


@asynccontextmanager
async def _worker(
    module: str, request: str, stdin: int, stdout: int, keep: Sequence[int]
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A running worker, which has ended when the context does."""
    # In this thread, not in a pool's: the worker ends with the thread that started it (PR_SET_PDEATHSIG). Not with
    # asyncio: its kill() may reap the process without its own watcher's knowledge.
    try:
        process = subprocess.Popen(  # noqa: ASYNC220  # a vfork and an exec
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", START.format(module), request, *_module_paths()],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            pass_fds=keep,
            env=_environment(),
        )
    except OSError as error:
        raise SystemFailure(f"the unpacker can't be started: {error}") from error
    try:
        yield process
    finally:
        process.kill()  # no effect if it has answered
        assert process.stderr is not None  # noqa: S101  # a pipe, as asked for above
        process.stderr.close()
        # Even if killed, it may take a while to leave a write to a slow disk; a cancelled caller waits too.
        await settled(asyncio.ensure_future(asyncio.to_thread(process.wait)))


@asynccontextmanager
async def _fed(source: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """The reading end of a pipe, for the caller to close, and the task that writes what `source` yields to it."""
    reading, writing = _pipe()
    os.set_blocking(writing, False)
    with open(writing, "wb", buffering=0) as pipe:  # noqa: ASYNC230, PTH123  # which is there already
        feeding = asyncio.create_task(_feed(pipe, source))
        try:
            yield reading, feeding
        finally:
            await end(feeding)  # if it is cancelled before it began, it has closed nothing


async def _answer_of(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None  # noqa: S101  # a pipe, as asked for above
    os.set_blocking(process.stderr.fileno(), False)
    answer = bytearray()
    while len(answer) <= _ANSWER_BYTES:
        chunk = await _read(process.stderr.fileno())
        if not chunk:
            return bytes(answer)
        answer += chunk
    raise SystemFailure("the unpacker answers without end")


async def _read(fd: int) -> bytes:
    """Wait for the next bytes of a pipe; b"" at its end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            await _ready(fd, loop.add_reader, loop.remove_reader)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A user's pipes have a total limit (fs.pipe-user-pages-soft); the usual 64 KiB work too, but more slowly.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reading, writing


async def _feed(pipe: FileIO, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks to `pipe`, as fast as it is read, and close it; stop when nobody reads it."""
    loop = asyncio.get_running_loop()
    fd = pipe.fileno()
    try:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                try:
                    rest = rest[os.write(fd, rest) :]
                except BlockingIOError:
                    await _ready(fd, loop.add_writer, loop.remove_writer)
    except BrokenPipeError:
        pass  # the worker has failed, and reports why
    finally:
        pipe.close()


async def _ready(fd: int, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]) -> None:
    """Wait until `fd` can be read or written, with `add` and `remove` of the event loop."""
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


def _environment() -> dict[str, str]:
    """The worker's environment: no secrets, and nothing that makes it read files.

    To shrink a second arena, glibc reads /proc/sys/vm/overcommit_memory, which would be the image's file.
    """
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"MALLOC_ARENA_MAX": "1", **kept}


@cache
def _module_paths() -> tuple[str, ...]:
    """The import paths for the worker, which is started without site-packages for speed."""
    names = ("sampan", "isal") if sys.version_info >= (3, 14) else ("sampan", "isal", "backports")
    paths: dict[str, None] = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        for location in (spec and spec.submodule_search_locations) or ():
            paths[str(Path(location).parent)] = None
    return tuple(paths)
