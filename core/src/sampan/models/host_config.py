"""A container's host configuration: what it is given of this host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sampan.models.base import Int64, Model, omitempty, omitnull
from sampan.models.mount import Mount
from sampan.models.network import PortBinding

TwoSizes = Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=2, max_length=2)]
"""Height and width of a terminal, in characters."""


class LogConfig(Model):
    """Where a container's output goes."""

    type: str = ""
    config: dict[str, str] | None = None


class RestartPolicy(Model):
    """When a container that ended is started again."""

    name: str = ""
    maximum_retry_count: Int64 = 0


class DeviceMapping(Model):
    """A device of the host in a container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Model):
    """Devices to be chosen by a driver, such as GPUs."""

    driver: str = ""
    count: Int64 = 0
    device_ids: list[str] | None = Field(None, alias="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class ThrottleDevice(Model):
    """A limit of bytes or operations per second on one device."""

    path: str = ""
    rate: Annotated[int, Field(ge=0, lt=2**64)] = 0


class WeightDevice(Model):
    """The share of one device's time."""

    path: str = ""
    weight: Annotated[int, Field(ge=0, lt=2**16)] = 0


class Ulimit(Model):
    """A resource limit of the container's processes; -1 is none."""

    name: str = ""
    hard: Int64 = 0
    soft: Int64 = 0


class Resources(Model):
    """Limits. Memory is bytes, CPU periods and quotas are microseconds, `nano_cpus` billionths of a CPU.

    Ours are `unified`, control files of cgroup v2 and what is written to them, and `psi_alerts`.
    """

    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: Annotated[int, Field(ge=0, lt=2**16)] = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = None
    blkio_device_write_iops: list[ThrottleDevice] | None = None
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: Int64 = 0
    io_maximum_bandwidth: Int64 = 0
    unified: dict[str, str] | None = omitempty()
    psi_alerts: list[str] | None = omitempty()


class HostConfig(Resources):
    """All that ties a container to its host."""

    binds: list[str] | None = None
    container_id_file: str = ""
    log_config: LogConfig = Field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = Field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[Mount] | None = omitempty()
    console_size: TwoSizes = Field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | None = omitempty()
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: Int64 = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = omitempty()
    tmpfs: dict[str, str] | None = omitempty()
    uts_mode: str = ""
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: dict[str, str] | None = omitempty()
    runtime: str = omitempty("")
    isolation: str = ""
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = omitnull()
