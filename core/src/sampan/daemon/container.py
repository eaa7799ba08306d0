"""A container: what was asked for, what state it is in, and who waits for what to happen to it."""

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
"""The label of a snapshot that is a container's writable layer."""


class Status(enum.StrEnum):
    """The states of a container's life, in Docker's words."""

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
"""What a health check makes of a container, in Docker's words."""


class ProbeResult(BaseModel):
    """One run of a health check. Times are nanoseconds since the epoch; a run without an exit code has -1."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str = ""


class HealthState(BaseModel):
    """What the health check says of a container since its start; `log` has the last results, oldest first."""

    status: str = STARTING
    failing_streak: int = 0
    has_been_healthy: bool = False
    log: list[ProbeResult] = Field(default_factory=list)


class State(BaseModel):
    """What happened to it last. Times are nanoseconds since the epoch; 0 is never.

    `paused_by_daemon`: it is, or is about to be, paused for a work of the daemon's, not because a user wants it so.
    `end`: how its init ended, as long as that is known and not settled yet.
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
    """All of a container that outlives the daemon: the `document` of its row.

    `args` is the command line after the rules of entrypoint and command; `image_name` what the user called the image;
    `links` the ids of the containers it links to, by alias; `own_labels` those that the image did not bring along;
    `unenforced` says of which limits this host can't enforce.
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
    """A container as it lives in the daemon.

    `dir` keeps what outlives its end, the `log` and the files that name things, `bundle_dir` what doesn't.
    `free` is set while nothing of the container is left in the kernel: a start waits for it. `removed` is set at the
    end of its life. One whose record in the database can't be read is not `readable`: it is dead and can only be
    removed. The `ports` to publish are read from its record once: a start has no time for thousands.
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
        """Its state; change the status through `move` only."""
        return self.record.state

    @property
    def running(self) -> bool:
        """Whether its init lives, paused or not."""
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
        """Whether something of it is gone already: it can only be removed."""
        return self.state.status in (Status.REMOVING, Status.DEAD)

    @property
    def is_kept(self) -> bool:
        """Whether it stays although it ended and was run with `--rm`: somebody is about to start it again."""
        return self._keepers > 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within this, it is not removed because it has ended."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1

    def move(self, status: Status) -> None:
        """Change its status. Raises `Conflict` for a move that its life does not have."""
        if status not in _MOVES[self.state.status]:
            raise Conflict(f"container {self.id} is {self.state.status} and can't become {status}")
        self.state.status = status

    def note_exit(self, end: ExitStatus) -> asyncio.Event:
        """Its init has ended: change state. Those who wait for it are woken by setting the answer."""
        self.move(Status.EXITED)
        self.state.pid, self.state.exit_code, self.state.finished_at_ns = 0, end.code, end.at_ns
        self.state.end = None
        return self._turn_exit()

    def turn_away(self, error: Exception) -> None:
        """There is no start for those who wait for one to attach: `error` says why."""
        waiting, self.awaiting_start = self.awaiting_start, []
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def tell_exit(self) -> None:
        """Wake those who wait for the next exit."""
        self._turn_exit().set()

    def _turn_exit(self) -> asyncio.Event:
        """The exit that is waited for; who comes from now on waits for the one after it."""
        exited, self.next_exit = self.next_exit, asyncio.Event()
        return exited
