"""Translates limits into writes to control files, and applies all of them or none.

Source: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from sampan.drivers import IoLimit, Resources
from sampan.drivers.limits import UNLIMITED, discarded
from sampan.errdefs import InvalidArgument, NotFound
from sampan_cgroups_v2.group import CORE, Group

_MAXIMA = {
    "memory.min": "memory_min_bytes",
    "memory.low": "memory_low_bytes",
    "memory.high": "memory_high_bytes",
    "memory.max": "memory_max_bytes",
    "memory.swap.max": "swap_max_bytes",
    "pids.max": "pids_max",
}
_PLAIN = {"cpu.weight": "cpu_weight", "cpuset.cpus": "cpuset_cpus", "cpuset.mems": "cpuset_mems"}
_BFQ_MAX_WEIGHT = 1000
_KEYED = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.latency": "target=0",
    "io.weight": "default",
    "io.bfq.weight": "default",
}
"""Files with one line for each device, and the default that a missing line stands for."""
CONTROLLERS = frozenset({CORE, "cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"})
_KEY = re.compile(r"[a-z0-9]+(\.[A-Za-z0-9_-]+)+")
_OWN = re.compile(r"cgroup\.(?!max\.)")


def apply(group: Group, resources: Resources) -> tuple[str, ...]:
    """Set all limits, or none if the kernel rejects one. Returns warnings about limits that it does not support.

    Raises `InvalidArgument`, or `NotFound` if the group disappears meanwhile.
    """
    done: list[tuple[str, str]] = []
    try:
        for file, value in _writes(group, resources):
            if group.has(file):
                old = _old_value(group, file, value)
                group.write(file, value)
                done.append((file, old))
    except BaseException as error:
        _roll_back(group, done, error)
        raise
    return discarded(resources, lambda file: has_limit(group, file))


def has_limit(group: Group, file: str) -> bool:
    """Whether the limit that `file` controls can be set here."""
    return group.has(_weight_file(group) if file == "io.weight" else file)


def check_files(resources: Resources, controllers: Collection[str], offers: Callable[[str], bool]) -> None:
    """Raise `InvalidArgument` for a control file that can't exist on this host.

    That is one of an unknown controller, or one that is missing although its controller is enabled.
    """
    for file in (*resources.unified, *(f"hugetlb.{size}.max" for size in resources.hugetlb_max_bytes)):
        controller = _checked(file).partition(".")[0]
        if controller not in CONTROLLERS:
            raise InvalidArgument(f"{_cannot_set(file)}: there is no controller {controller}")
        if controller in {CORE, *controllers} and not offers(file):
            raise InvalidArgument(f"{_cannot_set(file)}: this kernel has none of that name")


def _roll_back(group: Group, done: list[tuple[str, str]], cause: BaseException) -> None:
    for file, old in reversed(done):
        try:
            group.write(file, old)
        except NotFound:
            return  # no group is left whose limits could be wrong
        except InvalidArgument as error:
            cause.add_note(f"and the old value could not be put back: {error}")


def _writes(group: Group, resources: Resources) -> Iterator[tuple[str, str]]:
    for file, limit in _MAXIMA.items():
        if (number := getattr(resources, limit)) is not None:
            yield file, _number(number)
    for file, limit in _PLAIN.items():
        if (value := getattr(resources, limit)) is not None:
            yield file, str(value)
    yield from _cpu_writes(group, resources)
    yield from _io_writes(group, resources)
    for size, number in resources.hugetlb_max_bytes.items():
        yield _checked(f"hugetlb.{size}.max"), _number(number)
        yield f"hugetlb.{size}.rsvd.max", _number(number)
    for file, value in resources.unified.items():
        for line in value.splitlines() or [""]:
            yield _checked(file), line


def _cpu_writes(group: Group, resources: Resources) -> Iterator[tuple[str, str]]:
    quota, period, burst = resources.cpu_quota_us, resources.cpu_period_us, resources.cpu_burst_us
    if burst is not None:
        # The kernel rejects a quota below the burst and a burst above the quota, so the burst is reset first.
        yield "cpu.max.burst", "0"
    if quota is not None or period is not None:
        current = (group.find("cpu.max") or "max 100000").split()
        yield "cpu.max", f"{current[0] if quota is None else _number(quota)} {period or current[1]}"
    if burst is not None:
        yield "cpu.max.burst", str(burst)


def _io_writes(group: Group, resources: Resources) -> Iterator[tuple[str, str]]:
    weights = dict(resources.io_weights)
    if resources.io_weight is not None:
        weights = {"default": resources.io_weight, **weights}
    file = _weight_file(group)
    for device, weight in weights.items():
        yield file, f"{device} {min(weight, _BFQ_MAX_WEIGHT) if file == 'io.bfq.weight' else weight}"
    for limit in resources.io_max:
        yield "io.max", _io_line(limit)


def _io_line(limit: IoLimit) -> str:
    numbers = {
        "rbps": limit.read_bytes_per_s,
        "wbps": limit.write_bytes_per_s,
        "riops": limit.read_ops_per_s,
        "wiops": limit.write_ops_per_s,
    }
    words = (f"{key}={'max' if number is None else _number(number)}" for key, number in numbers.items())
    return f"{limit.device} {' '.join(words)}"


def _weight_file(group: Group) -> str:
    """The BFQ scheduler has its own file; `io.weight` exists only with the io.cost controller."""
    return "io.weight" if group.has("io.weight") or not group.has("io.bfq.weight") else "io.bfq.weight"


def _number(number: int) -> str:
    return "max" if number == UNLIMITED else str(number)


def _checked(file: str) -> str:
    """A control file's name given by the user: not a path, and no file that moves, kills or delegates."""
    if not _KEY.fullmatch(file) or _OWN.match(file):
        raise InvalidArgument(_cannot_set(file))
    return file


def _cannot_set(file: str) -> str:
    return f"{file!r} is not a control file that can be set"


def _old_value(group: Group, file: str, value: str) -> str:
    """The value that undoes writing `value`."""
    content = (group.find(file) or "").strip()
    if file not in _KEYED:
        return content
    device = value.split(" ", 1)[0]
    lines = (line for line in content.splitlines() if line.split(" ", 1)[0] == device)
    return next(lines, f"{device} {_KEYED[file]}")
