"""Docker's resource fields in the kernel's terms."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sampan.drivers import IoLimit, Resources
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig, ThrottleDevice

_CPU_PERIOD_US = 100_000
_MIN_MEMORY_BYTES = 6 * 1024 * 1024


def resources_of(host: HostConfig) -> Resources:
    """The limits that `host` asks for. Raises `InvalidArgument` in Docker's words for what contradicts itself.

    cgroup v1's figures become v2's as runc does it (opencontainers/cgroups utils.go).
    """
    _check(host)
    memory = host.memory or None
    return Resources(
        memory_max_bytes=memory,
        memory_low_bytes=host.memory_reservation or None,
        swap_max_bytes=_swap_bytes(host),
        cpu_quota_us=_cpu_quota_us(host),
        cpu_period_us=host.cpu_period or (_CPU_PERIOD_US if host.nano_cpus else None),
        cpu_weight=_cpu_weight(host.cpu_shares) if host.cpu_shares else None,
        cpuset_cpus=host.cpuset_cpus or None,
        cpuset_mems=host.cpuset_mems or None,
        pids_max=host.pids_limit if host.pids_limit and host.pids_limit > 0 else None,
        io_weight=_io_weight(host.blkio_weight) if host.blkio_weight else None,
        io_max=_io_limits(host),
    )


def _check(host: HostConfig) -> None:
    memory, swap = host.memory or 0, host.memory_swap or 0
    if 0 < memory < _MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory == 0 and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if 0 < memory < (host.memory_reservation or 0):
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.nano_cpus and (host.cpu_period or host.cpu_quota):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.nano_cpus and host.nano_cpus < 0:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {_cpus():.2f}, as there are only {_cpus()} CPUs available")
    if host.nano_cpus and host.nano_cpus > _cpus() * 1_000_000_000:
        raise InvalidArgument(f"range of CPUs is from 0.01 to {_cpus():.2f}, as there are only {_cpus()} CPUs available")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if host.cpu_quota and 0 < host.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")


def _cpus() -> int:
    return os.cpu_count() or 1


def _swap_bytes(host: HostConfig) -> int | None:
    """Docker counts memory and swap together, and allows as much swap as memory by default; the kernel counts swap."""
    memory, swap = host.memory or 0, host.memory_swap or 0
    if not memory:
        return None
    if swap < 0:
        return -1
    return swap - memory if swap else memory


def _cpu_quota_us(host: HostConfig) -> int | None:
    if host.nano_cpus:
        return host.nano_cpus * _CPU_PERIOD_US // 1_000_000_000
    return host.cpu_quota or None


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


def _rates(throttles: Iterable[ThrottleDevice] | None) -> Iterable[tuple[str, int]]:
    for throttle in throttles or ():
        yield _device_number(throttle.path), throttle.rate


def _device_number(path: str) -> str:
    try:
        number = Path(path).stat().st_rdev
    except OSError as error:
        raise InvalidArgument(f"stat {path}: {error.strerror}") from None
    return f"{os.major(number)}:{os.minor(number)}"
