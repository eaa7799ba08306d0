"""The interface of resource drivers: limits, accounting and control of a container's processes as one group.

The driver creates the group before the container's first process exists; the OCI runtime is given its path and puts
the process there. Names and meanings are from the kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True)
class IoLimit:
    """`io.max` of one block device, given as `major:minor`; `None` means no limit."""

    device: str
    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    read_ops_per_s: int | None = None
    write_ops_per_s: int | None = None


@dataclass(frozen=True)
class PressureAlert:
    """Report when processes were stalled for `stall_us` within `window_us` (kernel Documentation/accounting/psi.rst).

    `resource` is `cpu`, `memory` or `io`; `kind` is `some` (at least one process) or `full` (all of them).
    """

    resource: str
    kind: str
    stall_us: int
    window_us: int


@dataclass(frozen=True)
class Resources:
    """Requested limits; `None` leaves a setting unchanged. Bytes, microseconds and numbers, in the kernel's terms.

    `io_weights` are for individual block devices, given as `major:minor`.
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
    """Where a group should be.

    `parent` is the path, such as `batch/night`, of the cgroup that the user wants the group to be in; empty means the
    slice itself. It is relative to the slice, without `.` and `..`, and no part of it is the id of a container.
    `labels` are those given when the container was created, not those of its image: a driver may decide by them.
    """

    parent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


ANYWHERE = Placement()


@dataclass(frozen=True)
class ResourceCapabilities:
    """What this driver can do on this host. `host` is `unified`, `hybrid`, `legacy` or `none`."""

    host: str
    controllers: frozenset[str]
    freeze: bool = False
    kill: bool = False
    pressure: bool = False


@dataclass(frozen=True)
class Cgroup:
    """A group that was created. `path` is for the OCI spec's `cgroupsPath`, absolute within the cgroup file system.

    `warnings` are sentences about limits that this host can't enforce, in Docker's words where Docker has them.
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
    """What a group has used so far. A value that the host does not account is `None`."""

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

    `action` is `oom_kill`, `memory_high` (its processes were throttled at memory.high), `pressure` (an alert's
    threshold was exceeded; `detail` names it, as in `memory some`) or `empty` (its last process has ended). `count`
    is how often this has happened since the group was created, if the kernel counts it.
    """

    id: str
    action: str
    count: int = 1
    detail: str = ""


class ResourceDriver(Protocol):
    """Creates and controls groups. Synchronous; called from several threads at once.

    `id` is the container's: 64 hexadecimal digits, which distinguish a group from the parents that contain groups.
    """

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def capabilities(self) -> ResourceCapabilities:
        """What can be limited and done on this host."""

    def validate(self, resources: Resources, placement: Placement = ANYWHERE) -> tuple[str, ...]:
        """The warnings that `create` would return.

        Raises `InvalidArgument` for limits that no host could set and for an impossible parent, and `Forbidden` for a
        placement that this driver's policy refuses.
        """

    def create(self, id: str, resources: Resources, placement: Placement = ANYWHERE) -> Cgroup:
        """Create the group, and its parent if that does not exist, and set its limits.

        A parent may have been created by somebody else in order to limit what is in it. The driver leaves its limits
        alone, and enables all controllers for the groups in it.

        Raises `InvalidArgument` for a value that the kernel rejects, `Conflict` if the group exists and has processes
        (an empty one left by a crash is reused), or if the parent has processes of its own.
        """

    def update(self, id: str, resources: Resources) -> tuple[str, ...]:
        """Change limits of an existing group, all or none; returns warnings. Raises `NotFound`, `InvalidArgument`."""

    def stats(self, id: str) -> Stats:
        """What the group has used. Raises `NotFound`."""

    def freeze(self, id: str) -> None:
        """Stop every process of the group; returns when all have stopped. Raises `NotFound`, `Unsupported`."""

    def thaw(self, id: str) -> None:
        """Resume its processes. Raises `NotFound`, `Unsupported`."""

    def is_frozen(self, id: str) -> bool:
        """Whether `freeze` was called last and not `thaw`, by any daemon. False for a group that is gone."""

    def kill(self, id: str) -> None:
        """SIGKILL every process of the group, even if it is frozen. Not an error if it is empty or gone."""

    def processes(self, id: str) -> list[int]:
        """The pids in the group and all groups below it, in the host's PID namespace. Raises `NotFound`."""

    def oom_kills(self, id: str) -> int:
        """How many processes of the group the OOM killer has killed. Zero if the host does not count them."""

    def events(self) -> Iterator[GroupEvent]:
        """Block until `close`, yielding what happens from now on in any group, including groups created later.

        Only one caller at a time. A driver without events returns at once.
        """

    def remove(self, id: str) -> None:
        """Remove the group, those below it, and its parent if that is empty now and was created by the driver.

        Not an error if it is gone; raises `Conflict` if there are processes in it.
        """

    def list(self) -> Iterator[str]:
        """The ids of all groups of this driver, in any parent. Parents are not groups."""

    def close(self) -> None:
        """The daemon is stopping: remove what is empty, such as the slice. Groups with processes stay."""


@dataclass(frozen=True)
class ResourceSettings:
    """The argument of a resource driver's factory. `parent` is the slice with all groups, such as `/sampan`."""

    state_dir: Path
    parent: str


ResourceFactory: TypeAlias = Callable[[ResourceSettings], ResourceDriver]
"""Creates a resource driver. Does not touch the host before `create`."""
