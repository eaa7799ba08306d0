"""What a container uses. Unlike the rest of Docker's API, these objects have names in snake_case."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from sampan.models.base import Model, Request, omitempty

NEVER = "0001-01-01T00:00:00Z"


class StatsObject(Model):
    """Names on the wire are the attributes' own."""

    model_config = ConfigDict(alias_generator=None)


class ThrottlingData(StatsObject):
    """How often and how long the CPU limit held it up; time in nanoseconds."""

    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CpuUsage(StatsObject):
    """Nanoseconds."""

    total_usage: int = 0
    usage_in_kernelmode: int = 0
    usage_in_usermode: int = 0


class CpuStats(StatsObject):
    """What it used of the CPUs, beside what the whole host had; nanoseconds."""

    cpu_usage: CpuUsage = Field(default_factory=CpuUsage)
    system_cpu_usage: int = omitempty(0)
    online_cpus: int = omitempty(0)
    throttling_data: ThrottlingData = Field(default_factory=ThrottlingData)


class MemoryStats(StatsObject):
    """Bytes; `stats` is the kernel's `memory.stat`. Without a limit of its own the host's memory is the limit."""

    usage: int = omitempty(0)
    stats: dict[str, int] | None = omitempty()
    failcnt: int = omitempty(0)
    limit: int = omitempty(0)


class BlkioEntry(StatsObject):
    """One figure of one block device."""

    major: int
    minor: int
    op: str
    value: int


class BlkioStats(StatsObject):
    """Of these cgroup v2 has the bytes only."""

    io_service_bytes_recursive: list[BlkioEntry] | None = None
    io_serviced_recursive: list[BlkioEntry] | None = None
    io_queue_recursive: list[BlkioEntry] | None = None
    io_service_time_recursive: list[BlkioEntry] | None = None
    io_wait_time_recursive: list[BlkioEntry] | None = None
    io_merged_recursive: list[BlkioEntry] | None = None
    io_time_recursive: list[BlkioEntry] | None = None
    sectors_recursive: list[BlkioEntry] | None = None


class NetworkStats(StatsObject):
    """Of one interface of its sandbox."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class PidsStats(StatsObject):
    """Tasks: processes and their threads."""

    current: int = omitempty(0)
    limit: int = omitempty(0)


class StorageStats(StatsObject):
    """For Windows."""


class PressureStats(StatsObject):
    """Shares of time in percent in which it waited, and the whole time in microseconds."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total: int = 0


class ContainerStats(StatsObject):
    """One reading, with that before it. `sampan_pressure` is ours: for cpu, memory and io how long `some` task, or
    all of them (`full`), waited."""

    id: str = ""
    name: str = ""
    os_type: str = "linux"
    read: str = NEVER
    cpu_stats: CpuStats = Field(default_factory=CpuStats)
    memory_stats: MemoryStats = Field(default_factory=MemoryStats)
    networks: dict[str, NetworkStats] | None = omitempty()
    pids_stats: PidsStats = Field(default_factory=PidsStats)
    blkio_stats: BlkioStats = Field(default_factory=BlkioStats)
    num_procs: int = 0
    storage_stats: StorageStats = Field(default_factory=StorageStats)
    preread: str = NEVER
    precpu_stats: CpuStats = Field(default_factory=CpuStats)
    sampan_pressure: dict[str, dict[str, PressureStats]] | None = omitempty()


class WatchStats(Request):
    """container_stats; without `stream` one reading, for which `one_shot` does not wait for a second one."""

    name: str
    stream: bool = True
    one_shot: bool = False
