"""Docker's resource fields, translated to the kernel's terms."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from sampan.daemon.settings.cgroup_conf import pressure_alerts, unified
from sampan.daemon.settings.cpuset import cpuset_rules
from sampan.drivers import IoLimit, Resources
from sampan.drivers.limits import UNLIMITED
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig, ThrottleDevice

_CPU_PERIOD_US = 100_000
_CPUS = Path("/sys/devices/system/cpu/online")
_NODES = Path("/sys/devices/system/node/online")
_MIN_MEMORY_BYTES = 6 * 1024 * 1024
_LEAST_NANO_CPUS = 10_000_000
"""0.01 CPUs, as Docker's message says: the kernel accepts no quota below 1 ms."""


def resources_of(host: HostConfig) -> Resources:
    """The limits that `host` asks for. Raises `InvalidArgument` with Docker's message for contradictions.

    Values for cgroup v1 are converted to v2 as in runc (opencontainers/cgroups utils.go).
    """
    _check(host)
    memory = host.memory or None
    return Resources(
        memory_max_bytes=memory,
        memory_low_bytes=max(host.memory_reservation, 0) if host.memory_reservation else None,
        swap_max_bytes=_swap_bytes(host),
        cpu_quota_us=cpu_quota_us(host),
        cpu_period_us=cpu_period_us(host),
        cpu_weight=_cpu_weight(host.cpu_shares) if host.cpu_shares else None,
        cpuset_cpus=host.cpuset_cpus or None,
        cpuset_mems=host.cpuset_mems or None,
        pids_max=host.pids_limit if host.pids_limit and host.pids_limit > 0 else None,
        io_weight=_io_weight(host.blkio_weight) if host.blkio_weight else None,
        io_weights={
            _device_number(one.path): _io_weight(one.weight) for one in host.blkio_weight_device or () if one.weight
        },
        io_max=_io_limits(host),
        unified=unified(host),
        pressure_alerts=pressure_alerts(host),
    )


def resource_warnings(host: HostConfig) -> Iterator[str]:
    """Warnings about what Docker discards on cgroup v2, or on Linux."""
    unknown = "Your kernel does not support"
    if host.memory_swappiness not in (None, -1):
        yield (f"{unknown} memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.")
    if host.oom_kill_disable:
        yield f"{unknown} OomKillDisable. OomKillDisable discarded."
    if host.cpu_percent > 0:
        yield "linux does not support CPU percent. Percent discarded."


def _check(host: HostConfig) -> None:
    for is_wrong, words in (*_old_rules(host), *_memory_rules(host), *_cpu_rules(host)):
        if is_wrong:
            raise InvalidArgument(words)


def _old_rules(host: HostConfig) -> Iterator[tuple[bool, str]]:
    """Rules for what exists only on Windows or in cgroup v1."""
    refused = "invalid option: QoS maximum"
    yield host.io_maximum_bandwidth != 0, f"{refused} bandwidth configuration is not supported on linux"
    yield host.io_maximum_iops != 0, f"{refused} IOPs configuration is not supported on linux"
    realtime = bool(host.cpu_realtime_period or host.cpu_realtime_runtime)
    yield realtime, "kernel does not support CPU real-time scheduler"


def _memory_rules(host: HostConfig) -> Iterator[tuple[bool, str]]:
    memory, swap = host.memory, host.memory_swap
    yield memory != 0 and memory < _MIN_MEMORY_BYTES, "Minimum memory limit allowed is 6MB"
    yield memory == 0 and swap > 0, "You should always set the Memory limit when using Memoryswap limit, see usage"
    yield 0 < swap < memory, "Minimum memoryswap limit should be larger than memory limit, see usage"
    yield 0 < host.memory_reservation < _MIN_MEMORY_BYTES, "Minimum memory reservation allowed is 6MB"
    yield (
        0 < memory < host.memory_reservation,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )
    weights = [host.blkio_weight, *(one.weight for one in host.blkio_weight_device or ())]
    beyond = any(weight and not 10 <= weight <= 1000 for weight in weights)
    yield beyond, "Range of blkio weight is from 10 to 1000"


def _cpu_rules(host: HostConfig) -> Iterator[tuple[bool, str]]:
    nano, period, quota = host.nano_cpus, host.cpu_period, host.cpu_quota
    shares = host.cpu_shares
    yield shares < 0, f"invalid CPU shares ({shares}): value must be a positive integer"
    cpus = len(os.sched_getaffinity(0))  # as Docker counts them (moby pkg/sysinfo/numcpu_linux.go)
    yield bool(nano and period), "Conflicting options: Nano CPUs and CPU Period cannot both be set"
    yield bool(nano and quota), "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
    yield (
        nano != 0 and not _LEAST_NANO_CPUS <= nano <= cpus * 1_000_000_000,
        f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available",
    )
    yield (
        bool(period) and not 1000 <= period <= 1_000_000,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    yield 0 < quota < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)"
    yield from cpuset_rules("cpus", "CPUs", host.cpuset_cpus, _CPUS)
    yield from cpuset_rules("mems", "memory nodes", host.cpuset_mems, _NODES)


def _swap_bytes(host: HostConfig) -> int | None:
    """Docker's limit includes memory, and defaults to twice the memory; the kernel's limit is for swap alone."""
    memory, swap = host.memory, host.memory_swap
    if not memory:
        return None
    if swap < 0:
        return -1
    return swap - memory if swap else memory


def cpu_quota_us(host: HostConfig) -> int | None:
    """CPU time per period in microseconds; `None` without a limit."""
    if host.nano_cpus:
        return host.nano_cpus * _CPU_PERIOD_US // 1_000_000_000
    return max(host.cpu_quota, UNLIMITED) or None


def cpu_period_us(host: HostConfig) -> int | None:
    """The period of the quota in microseconds; `None` without a limit."""
    return host.cpu_period or (_CPU_PERIOD_US if host.nano_cpus else None)


def _cpu_weight(shares: int) -> int:
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def _io_weight(weight: int) -> int:
    return 1 + (weight - 10) * 9999 // 990


def _io_limits(host: HostConfig) -> tuple[IoLimit, ...]:
    return (
        *(IoLimit(device, read_bytes_per_s=rate) for device, rate in _rates(host.blkio_device_read_bps)),
        *(IoLimit(device, write_bytes_per_s=rate) for device, rate in _rates(host.blkio_device_write_bps)),
        *(IoLimit(device, read_ops_per_s=rate) for device, rate in _rates(host.blkio_device_read_iops)),
        *(IoLimit(device, write_ops_per_s=rate) for device, rate in _rates(host.blkio_device_write_iops)),
    )


def _rates(throttles: Iterable[ThrottleDevice] | None) -> Iterator[tuple[str, int]]:
    for throttle in throttles or ():
        yield _device_number(throttle.path), throttle.rate or UNLIMITED


def _device_number(path: str) -> str:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise InvalidArgument(f"stat {path}: {(error.strerror or '').lower()}") from None
    except ValueError:  # a null byte
        raise InvalidArgument(f"invalid device path: {json.dumps(path)}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidArgument(f"{path} is not a block device")
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
