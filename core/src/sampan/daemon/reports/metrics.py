"""What containers use, as Prometheus series with cAdvisor's names, so that dashboards made for it work.

Source of names: github.com/google/cadvisor docs/storage/prometheus.md, metrics/prometheus.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sampan.daemon.container import Container
from sampan.daemon.reports.sampler import Sample, read_all
from sampan.daemon.reports.stats import subject_of
from sampan.daemon.settings.limits import cpu_period_us, cpu_quota_us
from sampan.drivers import Stats
from sampan.models import HostConfig

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_LABELS = ("id", "name", "image")
_MICRO, _NANO = 1e-6, 1e-9
Figures: TypeAlias = Mapping[str, float | None]
"""The figures of one reading, by what they belong to (an interface, a device); a single figure has an empty key."""


class Reading(NamedTuple):
    """What is known about a running container."""

    container: Container
    sample: Sample


class Series(NamedTuple):
    """One metric family; `label` is the label that distinguishes a container's figures, if it has several."""

    name: str
    help: str
    figures: Callable[[Reading], Figures]
    label: str = ""

    def family(self) -> CounterMetricFamily | GaugeMetricFamily:
        """The family, still without figures."""
        labels = [*_LABELS, *([self.label] if self.label else [])]
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        return kind(self.name, self.help, labels=labels)


class ContainerMetrics(Collector):
    """Reads all running containers on each scrape, in the caller's thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        """A family for each series, with the figures that are available on this host."""
        running = {one.id: one for one in self._daemon.containers if one.running}
        samples = read_all(self._daemon.resources, filter(None, map(subject_of, running.values())))
        readings = [Reading(running[id], sample) for id, sample in samples.items()]
        for series in _SERIES:
            family = series.family()
            for reading in readings:
                for key, figure in series.figures(reading).items():
                    if figure is not None:
                        family.add_metric([*_labels(reading.container), *([key] if series.label else [])], figure)
            yield family


def _labels(container: Container) -> tuple[str, str, str]:
    return container.id, container.record.name, container.record.image_name


def _of(figure: Callable[[Stats], float | None], key: str = "") -> Callable[[Reading], Figures]:
    return lambda reading: {key: figure(reading.sample.stats)}


def _asked(figure: Callable[[HostConfig], int | None]) -> Callable[[Reading], Figures]:
    """A limit from the host configuration, absent if not set."""
    return lambda reading: {"": figure(reading.container.record.host_config) or None}


def _times(number: int | None, unit: float) -> float | None:
    return None if number is None else number * unit


def _field(name: str, unit: float = 1, key: str = "") -> Callable[[Reading], Figures]:
    return _of(lambda stats: _times(getattr(stats, name), unit), key)


def _memory(name: str) -> Callable[[Reading], Figures]:
    return _of(lambda stats: stats.memory.get(name))


def _working_set(stats: Stats) -> float | None:
    if stats.memory_bytes is None:
        return None
    return max(0, stats.memory_bytes - stats.memory.get("inactive_file", 0))


def _faults(reading: Reading) -> Figures:
    memory = reading.sample.stats.memory
    return {name: memory.get(name) for name in ("pgfault", "pgmajfault")}


def _stalled(resource: str, kind: str) -> Callable[[Reading], Figures]:
    def figure(stats: Stats) -> float | None:
        line = stats.pressure.get(resource, {}).get(kind)
        return line.total_us * _MICRO if line else None

    return _of(figure)


def _io(key: str) -> Callable[[Reading], Figures]:
    return lambda reading: {device: numbers.get(key) for device, numbers in reading.sample.stats.io.items()}


def _network(column: int) -> Callable[[Reading], Figures]:
    """A column of /proc/net/dev (proc_pid_net_dev(5))."""
    return lambda reading: {interface: numbers[column] for interface, numbers in reading.sample.interfaces.items()}


def _pressures() -> Iterable[Series]:
    for resource in ("cpu", "memory", "io"):
        yield Series(
            f"container_pressure_{resource}_waiting_seconds_total",
            f"Time in which some processes waited for {resource}",
            _stalled(resource, "some"),
        )
        yield Series(
            f"container_pressure_{resource}_stalled_seconds_total",
            f"Time in which all processes waited for {resource}",
            _stalled(resource, "full"),
        )


_SERIES = (
    Series("container_last_seen", "When it was read", lambda reading: {"": reading.sample.at_ns * _NANO}),
    Series(
        "container_start_time_seconds",
        "When it was started",
        lambda reading: {"": reading.container.state.started_at_ns * _NANO},
    ),
    Series("container_cpu_usage_seconds_total", "CPU time", _field("cpu_usage_us", _MICRO, "total"), "cpu"),
    Series("container_cpu_user_seconds_total", "CPU time in user mode", _field("cpu_user_us", _MICRO)),
    Series("container_cpu_system_seconds_total", "CPU time in the kernel", _field("cpu_system_us", _MICRO)),
    Series("container_cpu_cfs_periods_total", "Periods of the CPU quota", _field("cpu_periods")),
    Series("container_cpu_cfs_throttled_periods_total", "Throttled periods", _field("cpu_throttled_periods")),
    Series("container_cpu_cfs_throttled_seconds_total", "Time throttled", _field("cpu_throttled_us", _MICRO)),
    Series("container_memory_usage_bytes", "Memory in use, caches too", _field("memory_bytes")),
    Series("container_memory_working_set_bytes", "Memory that can't be taken back easily", _of(_working_set)),
    Series("container_memory_rss", "Anonymous memory", _memory("anon")),
    Series("container_memory_cache", "Page cache", _memory("file")),
    Series("container_memory_mapped_file", "Files mapped into memory", _memory("file_mapped")),
    Series("container_memory_max_usage_bytes", "The most memory that was in use", _field("memory_peak_bytes")),
    Series("container_memory_failures_total", "Page faults", _faults, "failure_type"),
    Series("container_oom_events_total", "Processes ended by the OOM killer", _field("oom_kills")),
    Series("container_threads", "Threads of all its processes", _field("pids")),
    Series("container_threads_max", "Limit of threads", _field("pids_max")),
    Series("container_spec_memory_limit_bytes", "Limit of memory", _field("memory_max_bytes")),
    Series(
        "container_spec_memory_reservation_limit_bytes",
        "Memory that is left to it",
        _asked(lambda host: host.memory_reservation),
    ),
    Series("container_spec_cpu_shares", "Its part of the CPUs", _asked(lambda host: host.cpu_shares)),
    Series("container_spec_cpu_period", "Period of the CPU quota", _asked(cpu_period_us)),
    Series("container_spec_cpu_quota", "CPU time in each period", _asked(cpu_quota_us)),
    *_pressures(),
    Series("container_fs_reads_bytes_total", "Bytes read", _io("rbytes"), "device"),
    Series("container_fs_writes_bytes_total", "Bytes written", _io("wbytes"), "device"),
    Series("container_fs_reads_total", "Reads", _io("rios"), "device"),
    Series("container_fs_writes_total", "Writes", _io("wios"), "device"),
    Series("container_network_receive_bytes_total", "Bytes received", _network(0), "interface"),
    Series("container_network_receive_packets_total", "Packets received", _network(1), "interface"),
    Series("container_network_receive_errors_total", "Errors in receiving", _network(2), "interface"),
    Series("container_network_receive_packets_dropped_total", "Received and dropped", _network(3), "interface"),
    Series("container_network_transmit_bytes_total", "Bytes sent", _network(8), "interface"),
    Series("container_network_transmit_packets_total", "Packets sent", _network(9), "interface"),
    Series("container_network_transmit_errors_total", "Errors in sending", _network(10), "interface"),
    Series("container_network_transmit_packets_dropped_total", "Dropped in sending", _network(11), "interface"),
)
