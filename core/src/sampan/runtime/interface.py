"""What the daemon asks of a runtime: containers by id, their processes, stdio and exits.

Two implementations satisfy `Runtime`: `sampan.runtime.oci.OciRuntime` (conmon and an OCI runtime) and
`sampan.testing.memory_runtime.MemoryRuntime` (no root, no kernel; for tests of what is above).
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
    """A file system that a container's mounts take from: the source of such a mount is `Bundle.place_of` it.

    It is `mounts`, in order; or, with `owner`, the tree of the same name that this running container has. With
    `subpath` only that part of it, to which no link may lead.
    """

    name: str
    mounts: tuple[Mount, ...] = ()
    owner: str | None = None
    subpath: str = ""


@dataclass(frozen=True)
class Bundle:
    """A container about to be created.

    `dir` is the bundle's directory, which the caller has made and will remove; the runtime writes `config.json`
    and `rootfs/` there. `spec` is the whole OCI runtime spec, its `root.path` is `rootfs`. `rootfs` are mounted
    in order on `dir/rootfs`, in a mount namespace of the container's own, and are gone with it; `trees` likewise,
    each on `dir/NAME`.
    `stdin` keeps stdin open for attachers; without it the process reads end of file at once. With `stdin_once` it
    ends when the first attacher that wrote to it goes or closes it. `log_path` is written in conmon's `k8s-file`
    format (see `runtime.log_lines`), and begun anew under that name by `reopen_log` or, after `log_max_bytes`, by the
    monitor itself; without a path nothing is logged.
    `runtime` is a configured runtime's name, `None` the default one.
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
    """How a container's init ended: its exit code, 128+N for signal N, and when."""

    code: int
    at_ns: int


class Attached(Protocol):
    """One caller's side of a process's stdio."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next output as (stream, bytes), stream `STDOUT` or `STDERR`; `None` when the process's output ended."""

    async def write(self, content: bytes) -> None:
        """Write all of `content` to stdin; waits for the process to take it. `ConnectionError` when stdin is gone."""

    async def close_stdin(self) -> None:
        """End of the caller's stdin: the process reads end of file. Reading goes on. No effect on a terminal."""

    async def close(self) -> None:
        """Detach. The process goes on. May be called twice."""


class Exec(Protocol):
    """A further process in a container, already running."""

    @property
    def pid(self) -> int:
        """Its pid in the host's terms."""

    @property
    def attached(self) -> Attached:
        """Its stdio. Must be read, or else closed, for the process not to block."""

    async def wait(self) -> int:
        """Its exit code, 128+N for signal N. May be called often and by several."""

    async def kill(self) -> None:
        """SIGKILL it and what it has started in its session. No error if it has ended."""


class Runtime(Protocol):
    """Runs containers. Asynchronous on the outside; every method may be cancelled only where it says so.

    An `id` that the runtime has nothing of is `NotFound` (`No such container: ID`).
    """

    async def create(self, bundle: Bundle) -> int:
        """Make the container up to the moment before its command runs; answers the pid of init.

        Raises `StartFailure` (an `InvalidArgument` with the exit code Docker records) in Docker's words for a command
        that is not found (127) or not executable (126) and for a mount of the wrong kind (127), `SystemFailure` for
        all else that the runtime refuses (Docker records 128). After a failure nothing is left.
        """

    async def start(self, id: str) -> None:
        """Let the command run. Raises as `create` does."""

    async def wait(self, id: str) -> ExitStatus:
        """How init ended, also if that was while no daemon ran. Cancellable; many may wait."""

    async def kill(self, id: str, signal: int) -> None:
        """Send `signal` to init. Raises `Conflict` (`Container ID is not running`) if it has ended."""

    async def delete(self, id: str) -> None:
        """Remove everything of the container in the exec root, ending what runs; also after a crash, also twice."""

    async def attach(self, id: str) -> Attached:
        """Attach to init: what it says from now on is seen. Raises `Conflict` if it has ended. May be cancelled."""

    async def resize(self, id: str, height: int, width: int, exec_id: str | None = None) -> None:
        """Set the terminal's size in characters. `Conflict` if there is none or it has ended."""

    async def reopen_log(self, id: str) -> None:
        """Have the log begun anew: a new file takes its name, soon. `Conflict` if the container has ended."""

    async def exec(
        self, id: str, exec_id: str, make_process: Callable[[], dict[str, Any]], *, terminal: bool, stdin: bool
    ) -> Exec:
        """Run a process (the OCI spec's object of that name) in a running container. Raises as `create` does.

        `make_process` may block, on the container's files for one thing, and raise.
        """

    def why_not_recursive(self, runtime: str | None) -> str | None:
        """Why that runtime (`None` is the default one) can't make mounts read-only with all below them (`rro`)."""

    async def adopt(self, id: str) -> int | None:
        """After a daemon restart: the pid of init if it still runs, `None` if it ended (`wait` then answers).

        Raises `NotFound` if nothing is left of the container in the exec root.
        """

    def list(self) -> list[str]:
        """The ids of all containers with anything left in the exec root."""
