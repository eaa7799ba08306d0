"""A group's accounting, read from its files."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.drivers import Pressure, Stats
from sampan_cgroups_v2.group import Group

_PRESSURES = ("cpu", "memory", "io")


def stats_of(group: Group) -> Stats:
    """What the group used. Figures of controllers that are not enabled are `None` or empty."""
    cpu = group.find_table("cpu.stat")
    return Stats(
        cpu_usage_us=cpu.get("usage_usec"),
        cpu_user_us=cpu.get("user_usec"),
        cpu_system_us=cpu.get("system_usec"),
        cpu_periods=cpu.get("nr_periods"),
        cpu_throttled_periods=cpu.get("nr_throttled"),
        cpu_throttled_us=cpu.get("throttled_usec"),
        memory_bytes=group.find_number("memory.current"),
        memory_peak_bytes=group.find_number("memory.peak"),
        memory_max_bytes=group.find_number("memory.max"),
        memory=group.find_table("memory.stat"),
        oom_kills=group.find_table("memory.events").get("oom_kill"),
        pids=group.find_number("pids.current"),
        pids_max=group.find_number("pids.max"),
        io=_io(group.find("io.stat") or ""),
        pressure=_pressures(group),
    )


def _io(content: str) -> Mapping[str, Mapping[str, int]]:
    """`8:0 rbytes=1 wbytes=2 …` by device; a device with nothing to say has no words."""
    devices = {}
    for line in content.splitlines():
        device, *words = line.split()
        pairs = (word.partition("=") for word in words)
        devices[device] = {key: int(number) for key, _, number in pairs}
    return devices


def _pressures(group: Group) -> Mapping[str, Mapping[str, Pressure]]:
    contents = {name: group.find(f"{name}.pressure") for name in _PRESSURES}
    return {name: _pressure(content) for name, content in contents.items() if content}


def _pressure(content: str) -> Mapping[str, Pressure]:
    """`some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (kernel Documentation/accounting/psi.rst)."""
    lines = {}
    for line in content.splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words)
        averages = {key: float(values[key]) for key in ("avg10", "avg60", "avg300")}
        lines[kind] = Pressure(**averages, total_us=int(values["total"]))
    return lines
