"""The engine itself: version and information."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty
from sampan.models.image import RegistryAuth


class PlatformInfo(Model):
    """The product's name."""

    name: str = ""


class ComponentVersion(Model):
    """A program that the engine works with."""

    name: str
    version: str
    details: dict[str, str] | None = omitempty()


class SystemVersion(Model):
    """The answer to system_version."""

    platform: PlatformInfo = Field(default_factory=PlatformInfo)
    components: list[ComponentVersion] | None = omitempty()
    version: str
    api_version: str = ""
    min_api_version: str = omitempty("", alias="MinAPIVersion")
    git_commit: str = omitempty("")
    go_version: str = omitempty("")
    os: str = "linux"
    arch: str = ""
    kernel_version: str = omitempty("")
    experimental: bool = omitempty(False)
    build_time: str = omitempty("")


class PluginsInfo(Model):
    """Names of drivers by kind."""

    volume: list[str] | None = None
    network: list[str] | None = None
    authorization: list[str] | None = None
    log: list[str] | None = None


class IndexInfo(Model):
    """A registry the engine knows of."""

    name: str = ""
    mirrors: list[str] | None = Field(default_factory=list)
    secure: bool = True
    official: bool = False


class RegistryServiceConfig(Model):
    """Registries: which are insecure, which are mirrored."""

    insecure_registry_cidrs: list[str] | None = Field(default_factory=list, alias="InsecureRegistryCIDRs")
    index_configs: dict[str, IndexInfo] | None = Field(default_factory=dict)
    mirrors: list[str] | None = Field(default_factory=list)


class RuntimeInfo(Model):
    """An OCI runtime."""

    path: str = omitempty("", alias="path")
    runtime_args: list[str] | None = omitempty(alias="runtimeArgs")
    status: dict[str, str] | None = omitempty(alias="status")


class Commit(Model):
    """The version of a program, by commit."""

    id: str = Field("", alias="ID")


class SwarmInfo(Model):
    """There is no swarm here; the fields say so."""

    node_id: str = ""
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: list[dict[str, Any]] | None = None


class AddressPool(Model):
    """Where networks get their subnets from."""

    base: str = ""
    size: Int64 = 0


class FirewallInfo(Model):
    """What programs the firewall."""

    driver: str = ""
    info: list[list[str]] | None = omitempty()


class SystemInfo(Model):
    """The answer to system_info. `drivers` is ours: which package and version serves what."""

    id: str = Field("", alias="ID")
    containers: Int64 = 0
    containers_running: Int64 = 0
    containers_paused: Int64 = 0
    containers_stopped: Int64 = 0
    images: Int64 = 0
    driver: str = ""
    driver_status: list[list[str]] | None = None
    plugins: PluginsInfo = Field(default_factory=PluginsInfo)
    memory_limit: bool = False
    swap_limit: bool = False
    cpu_cfs_period: bool = False
    cpu_cfs_quota: bool = False
    cpu_shares: bool = Field(False, alias="CPUShares")
    cpu_set: bool = Field(False, alias="CPUSet")
    pids_limit: bool = False
    ipv4_forwarding: bool = False
    debug: bool = False
    n_fd: Int64 = 0
    oom_kill_disable: bool = False
    n_goroutines: Int64 = 0
    system_time: str = ""
    logging_driver: str = ""
    cgroup_driver: str = "none"
    cgroup_version: str = omitempty("")
    n_events_listener: Int64 = 0
    kernel_version: str = ""
    operating_system: str = ""
    os_version: str = ""
    os_type: str = "linux"
    architecture: str = ""
    index_server_address: str = "https://index.docker.io/v1/"
    registry_config: RegistryServiceConfig | None = None
    n_cpu: Int64 = Field(0, alias="NCPU")
    mem_total: Int64 = 0
    generic_resources: list[dict[str, Any]] | None = None
    docker_root_dir: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    name: str = ""
    labels: list[str] | None = None
    experimental_build: bool = False
    server_version: str = ""
    runtimes: dict[str, RuntimeInfo] | None = None
    default_runtime: str = ""
    swarm: SwarmInfo = Field(default_factory=SwarmInfo)
    live_restore_enabled: bool = False
    isolation: str = ""
    init_binary: str = ""
    containerd_commit: Commit = Field(default_factory=Commit)
    runc_commit: Commit = Field(default_factory=Commit)
    init_commit: Commit = Field(default_factory=Commit)
    security_options: list[str] | None = None
    product_license: str = omitempty("")
    default_address_pools: list[AddressPool] | None = omitempty()
    firewall_backend: FirewallInfo | None = omitempty()
    cdi_spec_dirs: list[str] | None = Field(None, alias="CDISpecDirs")
    warnings: list[str] | None = None
    drivers: list[dict[str, str]] | None = omitempty(alias="Drivers")


class AuthResult(Model):
    """The answer to registry_login; the token, if the registry gave one, stands for the password from now on."""

    status: str = "Login Succeeded"
    identity_token: str = omitempty("")


class CheckAuth(Request):
    """registry_login."""

    auth: RegistryAuth = Field(repr=False)


class SystemInfoRequest(Request):
    """system_info."""


class SystemVersionRequest(Request):
    """system_version."""
