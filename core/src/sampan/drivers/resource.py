"""The resource driver's interface: limits, accounting and control of a container's processes as one group.

The driver makes the group before the container's first process exists; the OCI runtime is given its path and puts
the process there. Source of names and meanings: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True)
class IoLimit:
    """`io.max` of one block device, by its `major:minor`; `None` is no limit."""

    device: str
    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    read_ops_per_s: int | None = None
    write_ops_per_s: int | None = None


@dataclass(frozen=True)
class PressureAlert:
    """Tell when processes were stalled for `stall_us` within `window_us` (kernel Documentation/accounting/psi.rst).

    `resource` is `cpu`, `memory` or `io`; `kind` is `some` (one process at least) or `full` (all of them).
    """

    resource: str
    kind: str
    stall_us: int
    window_us: int


@dataclass(frozen=True)
class Resources:
    """Limits asked for; `None` leaves a knob as it is. Bytes, microseconds and numbers, in the kernel's terms.

    `io_weights` are of single block devices, by their `major:minor`.
    """

    memory_max_bytes: int | None = None
    memory_high_bytes: int | None = None
    memory_low_bytes: int | None = None
    memory_min_bytes: int | None = None
    swap_max_bytes: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    cpu_burst_us: int | None = None
    cpu_weight: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_max: int | None = None
    io_weight: int | None = None
    io_weights: Mapping[str, int] = field(default_factory=dict)
    io_max: tuple[IoLimit, ...] = ()
    hugetlb_max_bytes: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)
    pressure_alerts: tuple[PressureAlert, ...] = ()


@dataclass(frozen=True)
class Placement:
    """What decides where a group lies.

    `parent` is the path, such as `batch/night`, that whoever makes the container wants the group in; empty is the
    slice itself. It is relative to the slice, without `.` and `..`, and no part of it is an id of a container.
    `labels` are those that the container's maker gave it, not those of its image: a driver may choose by them.
    """

    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


ANYWHERE = Placement()


@dataclass(frozen=True)
class ResourceCapabilities:
    """What the host lets this driver do. `host` is `unified`, `hybrid`, `legacy` or `none`."""

    host: str
    controllers: frozenset[str]
    freeze: bool = False
    kill: bool = False
    pressure: bool = False


@dataclass(frozen=True)
class Cgroup:
    """A group made. `path` is for the OCI spec's `cgroupsPath`, absolute within the cgroup file system.

    `warnings` are sentences about limits that this host can't enforce, in Docker's words where it has them.
    """

    id: str
    path: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pressure:
    """One line of a PSI file: shares of time in percent, and the total in microseconds."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total_us: int = 0


@dataclass(frozen=True)
class Stats:
    """What a group used so far. A figure the host does not account is `None`."""

    cpu_usage_us: int | None = None
    cpu_user_us: int | None = None
    cpu_system_us: int | None = None
    cpu_periods: int | None = None
    cpu_throttled_periods: int | None = None
    cpu_throttled_us: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    memory_max_bytes: int | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    oom_kills: int | None = None
    pids: int | None = None
    pids_max: int | None = None
    io: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pressure: Mapping[str, Mapping[str, Pressure]] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupEvent:
    """Something that happened in a group.

    `action` is `oom_kill`, `memory_high` (its processes were slowed at memory.high), `pressure` (an alert's bound was
    passed; `detail` is such as `memory some`) or `empty` (its last process has ended). `count` is how often that
    happened in the group's life, where the kernel counts it.
    """

    id: str
    action: str
    count: int = 1
    detail: str = ""


class ResourceDriver(Protocol):
    """Makes and controls groups. Synchronous; called from several threads at once.

    `id` is the container's: 64 hexadecimal digits, by which a group is told from the parents that groups lie in.
    """

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def capabilities(self) -> ResourceCapabilities:
        """What can be limited and done on this host."""

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """What `create` is going to warn of.

        Raises `InvalidArgument` for what no host could set, and for a parent that can't be one; `Forbidden` for a
        placement that this driver's policy refuses.
        """

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Make the group, in a parent that is made if it is not there, and set its limits.

        A parent may be somebody else's, who limits by it what is in it. The driver leaves its limits alone, and gives
        the groups in it all controllers.

        Raises `InvalidArgument` for a value the kernel refuses, `Conflict` if the group exists and has processes (an
        empty one left by a crash is used again), or if the parent has processes of its own.
        """

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Change limits of a living group, all or none; answers warnings. Raises `NotFound`, `InvalidArgument`."""

    def stats(self, id: str) -> Stats:
        """What the group used. Raises `NotFound`."""

    def freeze(self, id: str) -> None:
        """Stop every process of the group; returns when all have stopped. Raises `NotFound`, `Unsupported`."""

    def thaw(self, id: str) -> None:
        """Let them go on. Raises `NotFound`, `Unsupported`."""

    def is_frozen(self, id: str) -> bool:
        """Whether `freeze` was called last, by whatever daemon. False for a group that is gone."""

    def kill(self, id: str) -> None:
        """SIGKILL every process of the group at once, also of a frozen one. No error if it is empty or gone."""

    def processes(self, id: str) -> list[int]:
        """The pids in the group and the groups below, in the host's terms. Raises `NotFound`."""

    def oom_kills(self, id: str) -> int:
        """How many processes of the group the OOM killer has ended. Zero where the host does not count."""

    def events(self) -> Iterator[GroupEvent]:
        """Blocks, yielding what happens from now on in any group, those made later too, until `close`.

        One caller at a time. A driver that knows of no events ends at once.
        """

    def remove(self, id: str) -> None:
        """Remove the group, those below it, and its parent if that is empty now and of the driver's making.

        No error if it is gone; raises `Conflict` if processes live in it.
        """

    def list(self) -> Iterator[str]:
        """The ids of all groups of this driver, in whatever parent; a parent is no group."""

    def close(self) -> None:
        """The daemon ends: let go of what is empty, such as the slice. Groups with processes stay."""


@dataclass(frozen=True)
class ResourceSettings:
    """What a resource driver is made with. `parent` is the slice under which groups are made, such as `/sampan`."""

    state_dir: Path
    parent: str


ResourceFactory: TypeAlias = Callable[[ResourceSettings], ResourceDriver]
"""Makes a resource driver. Does not touch the host before `create`."""
