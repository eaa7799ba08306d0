"""A container: its configuration, its state, and who is waiting for changes of that state."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, Field

from sampan.daemon.clock import now_ns
from sampan.daemon.filesystem.mounts import Point
from sampan.daemon.settings.log_options import limits_of
from sampan.daemon.settings.ports import port_bindings
from sampan.errdefs import Conflict
from sampan.models import ContainerConfig, EndpointSettings, HostConfig
from sampan.runtime.interface import Attached, ExitStatus
from sampan.runtime.log_files import LogFiles

CONTAINER_LABEL = "sampan.container"
"""The label that marks a snapshot as a container's writable layer."""


class Status(enum.StrEnum):
    """The states of a container, in Docker's terms."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


_MOVES: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.EXITED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.EXITED}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.EXITED: frozenset({Status.RUNNING, Status.RESTARTING, Status.REMOVING}),
    Status.REMOVING: frozenset({Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}


STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
"""The health states of a container, in Docker's terms."""


class ProbeResult(BaseModel):
    """One run of a health check. Times are nanoseconds since the epoch; a run without an exit code has -1."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str = ""


class HealthState(BaseModel):
    """The health of a container since its start; `log` has the latest results, oldest first."""

    status: str = STARTING
    failing_streak: int = 0
    has_been_healthy: bool = False
    log: list[ProbeResult] = Field(default_factory=list)


class State(BaseModel):
    """The state of a container. Times are nanoseconds since the epoch; 0 means never.

    `paused_by_daemon`: it is, or is about to be, paused for an operation of the daemon's, not at a user's request.
    `end`: how its init ended, while that is known but not settled yet.
    """

    status: Status = Status.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    oom_kills: int = 0
    started_at_ns: int = 0
    finished_at_ns: int = 0
    restart_count: int = 0
    restart_delay_s: float = 0.0
    removed_with_volumes: bool = False
    stopped_by_user: bool = False
    ended_as_unhealthy: bool = False
    paused_by_daemon: bool = False
    end: ExitStatus | None = None
    health: HealthState | None = None


class Record(BaseModel):
    """Everything about a container that outlives the daemon: the `document` of its row.

    `args` is the command line made from entrypoint and command; `image_name` is the user's name for the image;
    `links` are the IDs of the containers it links to, by alias; `own_labels` are those that don't come from the
    image; `unenforced` has a sentence for each limit that this host can't enforce.
    """

    id: str
    name: str
    created_at_ns: int = Field(default_factory=now_ns)
    image_id: str
    image_name: str
    config: ContainerConfig
    host_config: HostConfig
    networks: dict[str, EndpointSettings]
    mounts: list[Point]
    links: dict[str, str] = Field(default_factory=dict)
    own_labels: dict[str, str] = Field(default_factory=dict)
    unenforced: tuple[str, ...] = ()
    args: list[str] = Field(min_length=1)
    state: State = Field(default_factory=State)


class Container:
    """A container in the running daemon.

    `dir` has what outlives a run, such as the `log` and the hosts file, `bundle_dir` has what does not. `free` is set
    while nothing of the container is left in the kernel; a start waits for it. `removed` is set when the container is
    removed. If its record in the database can't be read, it is not `readable`: it is dead and can only be removed.
    The `ports` to publish are parsed once, as a start has no time to parse thousands.
    """

    def __init__(self, record: Record, dir: Path, bundle_dir: Path, *, readable: bool = True) -> None:
        self.record = record
        self.readable = readable
        self.dir = dir
        self.bundle_dir = bundle_dir
        self.free = asyncio.Event()
        self.free.set()
        self.removed = asyncio.Event()
        self.ports = tuple(port_bindings(record.config, record.host_config))
        self.log = LogFiles(dir / "output.log", limits_of(record.host_config.log_config))
        self.next_exit = asyncio.Event()
        self.awaiting_start: list[asyncio.Future[Attached]] = []
        self.health_watcher: asyncio.Task[None] | None = None
        self._keepers = 0

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self.record.id

    @property
    def state(self) -> State:
        """Its state. To change the status, use `move`."""
        return self.record.state

    @property
    def running(self) -> bool:
        """Whether its init is alive, paused or not."""
        return self.state.status in (Status.RUNNING, Status.PAUSED)

    @property
    def active(self) -> bool:
        """Whether it runs or is about to be restarted: what Docker calls running when it lists, stops or removes."""
        return self.running or self.state.status is Status.RESTARTING

    def run_s(self) -> float:
        """How long it has been running, in seconds."""
        return (now_ns() - self.state.started_at_ns) / 1e9

    @property
    def gone(self) -> bool:
        """Whether it is partly removed already, so that it can only be removed."""
        return self.state.status in (Status.REMOVING, Status.DEAD)

    @property
    def is_kept(self) -> bool:
        """Whether it stays although it has ended and was run with `--rm`, because it is about to be started again."""
        return self._keepers > 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """In this context, the container is not removed when it ends."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1

    def move(self, status: Status) -> None:
        """Change its status. Raises `Conflict` if there is no such transition."""
        if status not in _MOVES[self.state.status]:
            raise Conflict(f"container {self.id} is {self.state.status} and can't become {status}")
        self.state.status = status

    def note_exit(self, end: ExitStatus) -> asyncio.Event:
        """Record that its init has ended. Setting the returned event wakes those who wait for that."""
        self.move(Status.EXITED)
        self.state.pid, self.state.exit_code, self.state.finished_at_ns = 0, end.code, end.at_ns
        self.state.end = None
        return self._turn_exit()

    def turn_away(self, error: Exception) -> None:
        """Fail the attachments that wait for a start, because there is none; `error` says why."""
        waiting, self.awaiting_start = self.awaiting_start, []
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def tell_exit(self) -> None:
        """Wake those who wait for the next exit."""
        self._turn_exit().set()

    def _turn_exit(self) -> asyncio.Event:
        """Return the event of this exit, and create the one for the next."""
        exited, self.next_exit = self.next_exit, asyncio.Event()
        return exited
