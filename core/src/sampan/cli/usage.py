"""Computes a container's resource usage from the API's readings.

Source: docker cli, cli/command/container/stats_helpers.go and formatter_stats.go.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from sampan.cli import human

_BARS = "▁▂▃▄▅▆▇█"
_NOTHING = "--"
_LEAST_SCALE = 1.0  # percent, so that the noise of an idle container is not scaled up


class Usage:
    """The readings of one container; the last is shown."""

    def __init__(self, container: str, history: int = 20) -> None:
        self.container = container
        self._reading: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        self._history: deque[float] = deque(maxlen=history)

    def add(self, reading: dict[str, Any]) -> None:
        """Add a reading; that of a container that is not running is empty, and not used for comparison."""
        self._before, self._reading = self._reading, reading
        if self._cpu() and self._cpu(self._before):
            self._history.append(self.cpu_percent())

    def row(self, *, full: bool) -> dict[str, Any]:
        """The columns, named as docker's, and the history of CPU usage."""
        identity = str(self._reading.get("id") or "")
        row: dict[str, Any] = {
            "Container": self.container,
            "Name": str(self._reading.get("name") or _NOTHING).removeprefix("/"),
            "ID": (identity if full else identity[:12]) or _NOTHING,
        }
        return row | self._figures() | {"History": sparkline(self._history)}

    def cpu_percent(self) -> float:
        """CPU usage between the last two readings, in percent of one CPU."""
        before = self._before.get("cpu_stats", {})
        host = self._cpu().get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
        own = self._cpu()["cpu_usage"]["total_usage"] - before.get("cpu_usage", {}).get("total_usage", 0)
        if host <= 0 or own <= 0:
            return 0.0
        return float(own / host * (self._cpu().get("online_cpus") or 1) * 100)

    def _cpu(self, reading: dict[str, Any] | None = None) -> dict[str, Any]:
        """The CPU stats of a reading; empty if the container was not running."""
        cpu: dict[str, Any] = (self._reading if reading is None else reading).get("cpu_stats") or {}
        return cpu if cpu.get("system_cpu_usage") else {}

    def _figures(self) -> dict[str, str]:
        if not self._reading:
            return dict.fromkeys(("CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"), _NOTHING)
        used, limit = _memory(self._reading.get("memory_stats") or {})
        percent = used / limit * 100 if limit else 0.0
        return {
            "CPUPerc": f"{self.cpu_percent() if self._cpu() and self._cpu(self._before) else 0.0:.2f}%",
            "MemUsage": f"{human.binary_size(used)} / {human.binary_size(limit)}",
            "MemPerc": f"{percent:.2f}%",
            "NetIO": _pair(*_network(self._reading.get("networks") or {})),
            "BlockIO": _pair(*_blocks(self._reading.get("blkio_stats") or {})),
            "PIDs": str((self._reading.get("pids_stats") or {}).get("current", 0)),
        }


def sparkline(values: deque[float]) -> str:
    """One bar for each value, scaled to the largest."""
    top = max([*values, _LEAST_SCALE])
    return "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] for value in values)


def _memory(stats: dict[str, Any]) -> tuple[int, int]:
    """Usage and limit, without inactive page cache, which can be reclaimed (its name differs in cgroup v1)."""
    details = stats.get("stats") or {}
    usage, cache = stats.get("usage", 0), details.get("total_inactive_file", details.get("inactive_file", 0))
    return (usage - cache if cache < usage else usage), stats.get("limit", 0)


def _network(networks: dict[str, Any]) -> tuple[int, int]:
    return sum(one["rx_bytes"] for one in networks.values()), sum(one["tx_bytes"] for one in networks.values())


def _blocks(stats: dict[str, Any]) -> tuple[int, int]:
    sums = {"read": 0, "write": 0}
    for entry in stats.get("io_service_bytes_recursive") or []:
        if (op := entry["op"].lower()) in sums:
            sums[op] += entry["value"]
    return sums["read"], sums["write"]


def _pair(first: int, second: int) -> str:
    return f"{human.size(first)} / {human.size(second)}"
