"""A `Runtime` without root or kernel: containers are asyncio tasks, for tests of the layers above.

So every container's pid is that of the test process, and its root and namespaces are the test's own.

It knows these commands, by the last part of their path: `true`, `false`, `echo WORD…`, `cat` (stdin to stdout),
`sleep SECONDS|infinity`, `env`, `tty`, `status FILE` (exits with the code in a file of the host),
`sh -c 'echo WORD >&2; sleep 1; exit N'`. Anything else is not found. With a terminal, stderr goes to stdout, input is
echoed and lines end in CR LF, as on a real one.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCHLD, SIGCONT, SIGKILL, SIGURG, SIGWINCH
from typing import Any

from sampan.errdefs import Conflict, NotFound, SampanError
from sampan.runtime.failure import create_failure, exec_failure
from sampan.runtime.interface import STDERR, STDOUT, Bundle, ExitStatus

_STREAM_NAMES = {STDOUT: "stdout", STDERR: "stderr"}
_HARMLESS = frozenset({0, SIGCHLD, SIGCONT, SIGURG, SIGWINCH})


class MemoryAttached:
    """`Attached` on queues; created by `MemoryRuntime`."""

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._output: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        process.attached.append(self._output)
        self._wrote = False

    async def read(self) -> tuple[int, bytes] | None:
        item = await self._output.get()
        if item is None:
            self._output.put_nowait(None)  # for the next read
        return item

    async def write(self, content: bytes) -> None:
        if self._process.stdin_closed:
            raise BrokenPipeError("stdin is closed")
        self._wrote = True
        self._process.feed(content)

    async def close_stdin(self) -> None:
        if not self._process.terminal and self._process.stdin_once:
            self._process.feed(b"")

    async def close(self) -> None:
        if self._output in self._process.attached:
            self._process.attached.remove(self._output)
            self._output.put_nowait(None)
            if self._wrote:
                await self.close_stdin()


@dataclass
class _Process:
    args: list[str]
    env: list[str]
    terminal: bool
    stdin_once: bool
    log_path: Path | None = None
    pid: int = field(default_factory=os.getpid)
    size: tuple[int, int] | None = None
    stdin_closed: bool = False
    stdin: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    attached: list[asyncio.Queue[tuple[int, bytes] | None]] = field(default_factory=list)
    exit: asyncio.Future[ExitStatus] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[None] | None = None

    def feed(self, content: bytes) -> None:
        """Send input to the process; b"" means end of file."""
        self.stdin_closed = self.stdin_closed or not content
        if self.terminal and content:
            self.say(STDOUT, content)
        self.stdin.put_nowait(content)

    def say(self, stream: int, content: bytes) -> None:
        """Write output to the attached callers and the log."""
        if self.terminal:
            stream, content = STDOUT, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for output in self.attached:
            output.put_nowait((stream, content))
        if self.log_path:
            _log(self.log_path, stream, content)

    def start(self) -> None:
        self.task = asyncio.create_task(self._live())

    def kill(self, signal: int) -> None:
        """End the process by a signal."""
        self._end(128 + signal)
        if self.task is not None:
            self.task.cancel()

    async def _live(self) -> None:
        self._end(await _COMMANDS[_command(self.args)](self, self.args))

    def _end(self, code: int) -> None:
        if not self.exit.done():
            self.stdin_closed = True
            for output in self.attached:
                output.put_nowait(None)
            self.exit.set_result(ExitStatus(code, time.time_ns()))


class MemoryExec:
    """`Exec` of a `MemoryRuntime`."""

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._attached = MemoryAttached(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def attached(self) -> MemoryAttached:
        return self._attached

    async def wait(self) -> int:
        return (await asyncio.shield(self._process.exit)).code

    async def kill(self) -> None:
        self._process.kill(SIGKILL)


@dataclass
class _Container:
    init: _Process
    started: bool = False
    execs: dict[str, _Process] = field(default_factory=dict)


class MemoryRuntime:
    """`Runtime` in memory. A signal ends a process unless its default action is to be ignored."""

    def __init__(self) -> None:
        self._containers: dict[str, _Container] = {}

    async def create(self, bundle: Bundle) -> int:
        if bundle.id in self._containers:
            raise Conflict(f"container with given ID already exists: {bundle.id}")
        process = bundle.spec["process"]
        _find(process["args"], create_failure, "runc create failed: ")
        init = _Process(process["args"], process.get("env", []), bundle.terminal, bundle.stdin_once, bundle.log_path)
        if bundle.log_path:
            bundle.log_path.touch()
        if not bundle.stdin:
            init.feed(b"")
        self._containers[bundle.id] = _Container(init)
        return init.pid

    async def start(self, id: str) -> None:
        container = self._container(id)
        container.started = True
        container.init.start()

    async def wait(self, id: str) -> ExitStatus:
        return await asyncio.shield(self._container(id).init.exit)

    async def kill(self, id: str, signal: int) -> None:
        container = self._container(id)
        self._running(id)
        if signal not in _HARMLESS:
            container.init.kill(signal)

    async def delete(self, id: str) -> None:
        container = self._containers.pop(id, None)
        if container is not None:
            for process in (container.init, *container.execs.values()):
                process.kill(SIGKILL)

    async def attach(self, id: str) -> MemoryAttached:
        return MemoryAttached(self._running(id).init)

    async def resize(self, id: str, height: int, width: int, exec_id: str | None = None) -> None:
        container = self._running(id)
        try:
            process = container.init if exec_id is None else container.execs[exec_id]
        except KeyError:
            raise NotFound(f"No such exec instance: {exec_id}") from None
        if not process.terminal:
            raise Conflict(f"Container {id} has no terminal")
        process.size = (height, width)

    async def reopen_log(self, id: str) -> None:
        path = self._running(id).init.log_path
        if path is not None:
            new = path.with_name(f"{path.name}.tmp")
            new.touch()
            new.replace(path)

    async def exec(
        self, id: str, exec_id: str, make_process: Callable[[], dict[str, Any]], *, terminal: bool, stdin: bool
    ) -> MemoryExec:
        container = self._running(id)
        process = make_process()
        _find(process["args"], exec_failure, "exec failed: ")
        started = _Process(process["args"], process.get("env", []), terminal, stdin_once=True)
        if not stdin:
            started.feed(b"")
        container.execs[exec_id] = started
        running = MemoryExec(started)
        started.start()
        return running

    def why_not_recursive(self, runtime: str | None) -> str | None:
        return None

    async def adopt(self, id: str) -> int | None:
        init = self._container(id).init
        return None if init.exit.done() else init.pid

    def list(self) -> list[str]:
        return sorted(self._containers)

    def window_size(self, id: str) -> tuple[int, int] | None:
        """For tests: the height and width last set by `resize`."""
        return self._container(id).init.size

    def attached(self, id: str) -> int:
        """For tests: the number of callers attached to the container's processes."""
        container = self._containers.get(id)
        processes = (container.init, *container.execs.values()) if container else ()
        return sum(len(process.attached) for process in processes)

    def _container(self, id: str) -> _Container:
        try:
            return self._containers[id]
        except KeyError:
            raise NotFound(f"No such container: {id}") from None

    def _running(self, id: str) -> _Container:
        container = self._container(id)
        if container.init.exit.done():
            raise Conflict(f"Container {id} is not running")
        return container


def _find(args: list[str], failure: Callable[[str], SampanError], prefix: str) -> None:
    """Raise the error of an OCI runtime if the command does not exist."""
    if _command(args) in _COMMANDS:
        return
    why = f"stat {args[0]}: no such file or directory" if "/" in args[0] else "executable file not found in $PATH"
    raise failure(f'{prefix}unable to start container process: exec: "{args[0]}": {why}')


def _command(args: list[str]) -> str:
    return args[0].rpartition("/")[2]


def _log(path: Path, stream: int, content: bytes) -> None:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000+00:00")
    head = f"{stamp} {_STREAM_NAMES[stream]} ".encode()
    with path.open("ab") as log:
        for line in content.splitlines(keepends=True):
            log.write(head + (b"F " + line if line.endswith(b"\n") else b"P " + line + b"\n"))


# The commands: each is called with its process and its arguments, and returns the exit code.


async def _true(process: _Process, args: list[str]) -> int:
    return 0


async def _false(process: _Process, args: list[str]) -> int:
    return 1


async def _echo(process: _Process, args: list[str]) -> int:
    stream = STDERR if ">&2" in args else STDOUT
    process.say(stream, " ".join(word for word in args[1:] if word != ">&2").encode() + b"\n")
    return 0


async def _env(process: _Process, args: list[str]) -> int:
    process.say(STDOUT, "".join(f"{entry}\n" for entry in process.env).encode())
    return 0


async def _tty(process: _Process, args: list[str]) -> int:
    process.say(STDOUT, b"/dev/pts/0\n" if process.terminal else b"not a tty\n")
    return 0 if process.terminal else 1


async def _cat(process: _Process, args: list[str]) -> int:
    while content := await process.stdin.get():
        process.say(STDOUT, content)
    return 0


async def _sleep(process: _Process, args: list[str]) -> int:
    if args[1] == "infinity":
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(float(args[1]))
    return 0


async def _status(process: _Process, args: list[str]) -> int:
    return int(await asyncio.to_thread(Path(args[1]).read_text))


async def _sh(process: _Process, args: list[str]) -> int:
    """With `-c`, run these commands and `exit N`, separated by `;`. Otherwise behave like `cat`."""
    if args[1:2] != ["-c"]:
        return await _cat(process, args)
    code = 0
    for part in args[2].split(";"):
        words = shlex.split(part)
        if words[:1] == ["exit"]:
            return int(words[1])
        if words and _command(words) in _COMMANDS:
            code = await _COMMANDS[_command(words)](process, words)
        elif words:
            process.say(STDERR, f"sh: {words[0]}: not found\n".encode())
            code = 127
    return code


_COMMANDS: dict[str, Callable[[_Process, list[str]], Awaitable[int]]] = {
    "true": _true,
    "false": _false,
    "echo": _echo,
    "env": _env,
    "tty": _tty,
    "cat": _cat,
    "sleep": _sleep,
    "status": _status,
    "sh": _sh,
}
