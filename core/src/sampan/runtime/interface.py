"""What the daemon needs from a runtime: containers by ID, their processes, stdio and exits.

Two classes implement `Runtime`: `sampan.runtime.oci.OciRuntime` (conmon and an OCI runtime) and
`sampan.testing.memory_runtime.MemoryRuntime` (no root, no kernel; for tests of the layers above).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sampan.drivers import Mount

STDOUT = 1
STDERR = 2


@dataclass(frozen=True)
class Tree:
    """A file system that a container's mounts use: the source of such a mount is `Bundle.place_of` it.

    It consists of `mounts`, in order; or, with `owner`, it is that running container's tree of the same name. With
    `subpath`, it is only that part, to which no symbolic link may lead.
    """

    name: str
    mounts: tuple[Mount, ...] = ()
    owner: str | None = None
    subpath: str = ""


@dataclass(frozen=True)
class Bundle:
    """A container about to be created.

    `dir` is the bundle's directory, which the caller creates and removes; the runtime writes `config.json` and
    `rootfs/` there. `spec` is the whole OCI runtime spec, whose `root.path` is `rootfs`. `rootfs` are mounted in
    order on `dir/rootfs`, in the container's own mount namespace, and disappear with it; so do `trees`, each on
    `dir/NAME`. `stdin` keeps stdin open for attached callers; without it, the process reads end of file at once. With
    `stdin_once`, it ends when the first attached caller that wrote to it disconnects or closes it. `log_path` is
    written in conmon's `k8s-file` format (see `runtime.log_lines`), and replaced by a new file by `reopen_log` or,
    after `log_max_bytes`, by the monitor itself; without a path, nothing is logged. `runtime` is the name of a
    configured runtime, `None` the default one.
    """

    id: str
    dir: Path
    spec: dict[str, Any]
    rootfs: tuple[Mount, ...]
    trees: tuple[Tree, ...] = ()
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log_path: Path | None = None
    log_max_bytes: int | None = None
    runtime: str | None = None


@dataclass(frozen=True)
class ExitStatus:
    """How a container's init ended: its exit code, or 128+N for signal N, and the time."""

    code: int
    at_ns: int


class Attached(Protocol):
    """One caller's side of a process's stdio."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next output as (stream, bytes), stream `STDOUT` or `STDERR`; `None` at the end of the output."""

    async def write(self, content: bytes) -> None:
        """Write all of `content` to stdin, waiting for the process to read it. `ConnectionError` if stdin is gone."""

    async def close_stdin(self) -> None:
        """End the caller's stdin: the process reads end of file. Reading continues. No effect on a terminal."""

    async def close(self) -> None:
        """Detach. The process keeps running. May be called twice."""


class Exec(Protocol):
    """An additional process in a container, already running."""

    @property
    def pid(self) -> int:
        """Its pid in the host's PID namespace."""

    @property
    def attached(self) -> Attached:
        """Its stdio. Must be read or closed, as the process may block otherwise."""

    async def wait(self) -> int:
        """Its exit code, or 128+N for signal N. May be called repeatedly and concurrently."""

    async def kill(self) -> None:
        """SIGKILL it and what it has started in its session. No error if it has ended."""


class Runtime(Protocol):
    """Runs containers. Methods may be cancelled only where they say so.

    For an unknown `id`, they raise `NotFound` (`No such container: ID`).
    """

    async def create(self, bundle: Bundle) -> int:
        """Create the container up to the point before its command runs; returns the pid of init.

        Raises `StartFailure` (an `InvalidArgument` with the exit code that Docker records) with Docker's message for
        a command that is not found (127) or not executable (126) and for a mount of the wrong kind (127),
        `SystemFailure` for any other refusal of the runtime (Docker records 128). After a failure, nothing is left.
        """

    async def start(self, id: str) -> None:
        """Let the command run. Raises as `create` does."""

    async def wait(self, id: str) -> ExitStatus:
        """How init ended, even if no daemon was running then. Cancellable; may be called concurrently."""

    async def kill(self, id: str, signal: int) -> None:
        """Send `signal` to init. Raises `Conflict` (`Container ID is not running`) if it has ended."""

    async def delete(self, id: str) -> None:
        """Remove everything of the container in the exec root, ending what runs. Works after a crash, and twice."""

    async def attach(self, id: str) -> Attached:
        """Attach to init, to see its output from now on. Raises `Conflict` if it has ended. May be cancelled."""

    async def resize(self, id: str, height: int, width: int, exec_id: str | None = None) -> None:
        """Set the terminal's size in characters. `Conflict` if there is none or it has ended."""

    async def reopen_log(self, id: str) -> None:
        """Ask for a new log file, which soon takes over the name. Raises `Conflict` if the container has ended."""

    async def exec(
        self, id: str, exec_id: str, make_process: Callable[[], dict[str, Any]], *, terminal: bool, stdin: bool
    ) -> Exec:
        """Run a process (the OCI spec's object `process`) in a running container. Raises as `create` does.

        `make_process` may raise, and may block, for example on the container's files.
        """

    def why_not_recursive(self, runtime: str | None) -> str | None:
        """Why that runtime (`None` is the default one) can't make mounts recursively read-only (`rro`)."""

    async def adopt(self, id: str) -> int | None:
        """After a daemon restart: the pid of init if it still runs, `None` if it has ended (`wait` returns how).

        Raises `NotFound` if nothing of the container is left in the exec root.
        """

    def list(self) -> list[str]:
        """The IDs of all containers with anything left in the exec root."""
