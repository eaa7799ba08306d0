"""Starts the confined processes that read and write layers and containers' files, and talks with them.

A worker is a module with a `main`: its one argument is a JSON object, its standard error an answer of one more
(`error` and `message`, or what it has to say), its standard input and output are bytes.
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
_ANSWER_BYTES = 32 << 20  # what `Limits.told_bytes` allows, twice and in base64, is less
_ERRORS = ("DataLoss", "InvalidArgument", "NotFound", "SystemFailure", "Unsupported")


async def run_worker(
    module: str, request: str, stdin: int, *, stdout: int = subprocess.DEVNULL, keep: Sequence[int] = ()
) -> bytes:
    """Run the worker `module`, and answer its answer. A cancelled call ends the process.

    `stdin` and `stdout` are its streams, file descriptors of ours; those in `keep` it has under the same numbers.
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
        # Done or not: a worker that failed has not read to the end, and its pipe is broken.
        if feeding.done():
            feeding.result()
        return answer


async def read_worker(
    module: str, request: str, *, source: AsyncIterator[bytes] | None = None, keep: Sequence[int] = ()
) -> AsyncGenerator[bytes, None]:
    """Yield what the worker writes to its standard output, as it comes; `source` is its input.

    Raises the error it answers, behind what it has written. Closing the generator ends the process.
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
    """What a worker answered. Raises the error it names, or `SystemFailure` if the answer makes no sense."""
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
    """The error of a worker that did not answer as it should."""
    text = answer[-500:].decode("utf-8", "replace").strip()
    return SystemFailure(f"the unpacker failed: {text or 'it ended without an answer'}")


@asynccontextmanager
async def _worker(
    module: str, request: str, stdin: int, stdout: int, keep: Sequence[int]
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A running worker, which has ended when the context does."""
    # In this thread, not in a pool's: the worker ends with the thread that started it (PR_SET_PDEATHSIG). Not by
    # asyncio: its kill() may reap the process, of which its own watcher then knows nothing.
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
        process.kill()  # nothing to one that has answered
        assert process.stderr is not None  # noqa: S101  # a pipe, as asked for above
        process.stderr.close()
        # Killed or not, it may take a while to leave a write to a slow disk: also a caller that is cancelled waits.
        await settled(asyncio.ensure_future(asyncio.to_thread(process.wait)))


@asynccontextmanager
async def _fed(source: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """The end of a pipe, for the caller to close, into which a task writes what `source` yields."""
    reading, writing = _pipe()
    os.set_blocking(writing, False)
    with open(writing, "wb", buffering=0) as pipe:  # noqa: ASYNC230, PTH123  # which is there already
        feeding = asyncio.create_task(_feed(pipe, source))
        try:
            yield reading, feeding
        finally:
            await end(feeding)  # one that is ended before it began has closed nothing


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
    """The next bytes of a pipe, waiting for them; b"" at its end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, _PIPE_BYTES)
        except BlockingIOError:
            await _ready(fd, loop.add_reader, loop.remove_reader)


def _pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A user's pipes together are bounded (fs.pipe-user-pages-soft); the usual 64 KiB do as well, only slower.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reading, writing


async def _feed(pipe: FileIO, chunks: AsyncIterator[bytes]) -> None:
    """Write all chunks to `pipe`, as fast as it is emptied, and close it; stop when nobody reads it."""
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
        pass  # the worker has failed, and says why
    finally:
        pipe.close()


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
