"""Docker's warnings about requested limits that a host can't enforce.

The messages are from moby daemon/daemon_unix.go, verifyPlatformContainerResources; the file names from the kernel's
Documentation/admin-guide/cgroup-v2.rst. Every resource driver uses this, so that the messages are always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sampan.drivers.resource import Resources

UNLIMITED = -1
"""The value that removes a limit (the kernel's `max`); never causes a warning."""

_GONE = "or the cgroup is not mounted."
_SOFT = f"Your kernel does not support memory soft limit capabilities {_GONE} Limitation discarded."
_QUOTA = "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
_CPUSET = f"Your kernel does not support cpuset {_GONE} Cpuset discarded."
_WARNINGS = {
    "memory_max_bytes": (
        "memory.max",
        f"Your kernel does not support memory limit capabilities {_GONE} Limitation discarded.",
    ),
    "swap_max_bytes": (
        "memory.swap.max",
        f"Your kernel does not support swap limit capabilities {_GONE} Memory limited without swap.",
    ),
    "memory_high_bytes": ("memory.high", _SOFT),
    "memory_low_bytes": ("memory.low", _SOFT),
    "memory_min_bytes": ("memory.min", _SOFT),
    "cpu_quota_us": ("cpu.max", _QUOTA),
    "cpu_period_us": ("cpu.max", _QUOTA),
    "cpu_burst_us": ("cpu.max.burst", _QUOTA),
    "cpu_weight": ("cpu.weight", f"Your kernel does not support CPU shares {_GONE} Shares discarded."),
    "cpuset_cpus": ("cpuset.cpus", _CPUSET),
    "cpuset_mems": ("cpuset.mems", _CPUSET),
    "pids_max": (
        "pids.max",
        f"Your kernel does not support PIDs limit capabilities {_GONE} PIDs limit discarded.",
    ),
    "io_weight": ("io.weight", f"Your kernel does not support Block I/O weight {_GONE} Weight discarded."),
}
_IO_WARNINGS = {
    "read_bytes_per_s": ("BPS Block I/O read", "Block I/O BPS read"),
    "write_bytes_per_s": ("BPS Block I/O write", "Block I/O BPS write"),
    "read_ops_per_s": ("IOPS Block read", "Block I/O IOPS read"),
    "write_ops_per_s": ("IOPS Block write", "Block I/O IOPS write"),
}


def discarded(resources: Resources, enforces: Callable[[str], bool]) -> tuple[str, ...]:
    """A warning for each limit in `resources` that is not enforced, without duplicates.

    `enforces` is called with names of cgroup v2 control files, such as `memory.max`. There is no separate warning
    about swap if the memory limit is not enforced.
    """
    if resources.memory_max_bytes not in (None, UNLIMITED) and not enforces("memory.max"):
        resources = replace(resources, swap_max_bytes=None)
    found = [
        sentence
        for limit, (file, sentence) in _WARNINGS.items()
        if getattr(resources, limit) not in (None, UNLIMITED, "") and not enforces(file)
    ]
    if resources.io_max and not enforces("io.max"):
        found += [
            f"Your kernel does not support {what} limit {_GONE} {short} limit discarded."
            for limit, (what, short) in _IO_WARNINGS.items()
            if any(getattr(device, limit) is not None for device in resources.io_max)
        ]
    if resources.io_weights and not enforces("io.weight"):
        found.append(f"Your kernel does not support Block I/O weight_device {_GONE} Weight-device discarded.")
    for size in resources.hugetlb_max_bytes:
        if not enforces(f"hugetlb.{size}.max"):
            found.append(f"Your kernel does not support hugetlb limit of {size} pages {_GONE} Limitation discarded.")
    for key in resources.unified:
        if not enforces(key):
            found.append(f"Your kernel does not support {key} {_GONE} Limitation discarded.")
    return tuple(dict.fromkeys(found))
