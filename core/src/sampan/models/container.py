"""Containers: what jobs answer about them, and what jobs are asked to do with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty, omitnull
from sampan.models.container_config import ContainerConfig
from sampan.models.host_config import HostConfig, Resources, RestartPolicy
from sampan.models.image import Descriptor, DriverData
from sampan.models.mount import MountPoint
from sampan.models.network import EndpointSettings, NetworkingConfig, PortBinding

TerminalSize = Annotated[int, Field(ge=0, lt=2**16)]
"""Characters; the kernel keeps 16 bits."""


class HealthcheckResult(Model):
    """One run of the health check; 0 is healthy."""

    start: str = ""
    end: str = ""
    exit_code: Int64 = 0
    output: str = ""


class Health(Model):
    """The state of health, and the last results."""

    status: str = ""
    failing_streak: Int64 = 0
    log: list[HealthcheckResult] | None = None


class HealthSummary(Model):
    """The state of health in a list."""

    status: str = ""
    failing_streak: Int64 = 0


class ContainerState(Model):
    """created, running, paused, restarting, removing, exited or dead, and how it came to that."""

    status: str
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = Field(False, alias="OOMKilled")
    dead: bool = False
    pid: Int64 = 0
    exit_code: Int64 = 0
    error: str = ""
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"
    health: Health | None = omitempty()


class NetworkSettings(Model):
    """A container's sandbox, published ports and endpoints."""

    sandbox_id: str = ""
    sandbox_key: str = ""
    ports: dict[str, list[PortBinding] | None] | None = Field(default_factory=dict)
    networks: dict[str, EndpointSettings] | None = Field(default_factory=dict)


class ContainerInspect(Model):
    """Everything that is known about a container. `warnings` (ours): its limits that the host does not enforce."""

    id: str
    created: str = ""
    path: str = ""
    args: list[str] = Field(default_factory=list)
    state: ContainerState
    image: str = ""
    resolv_conf_path: str = ""
    hostname_path: str = ""
    hosts_path: str = ""
    log_path: str = ""
    name: str = ""
    restart_count: Int64 = 0
    driver: str = ""
    platform: str = "linux"
    mount_label: str = ""
    process_label: str = ""
    app_armor_profile: str = ""
    exec_ids: list[str] | None = Field(None, alias="ExecIDs")
    host_config: HostConfig = Field(default_factory=HostConfig)
    graph_driver: DriverData | None = omitempty()
    size_rw: Int64 | None = omitnull(alias="SizeRw")
    size_root_fs: Int64 | None = omitnull(alias="SizeRootFs")
    mounts: list[MountPoint] = Field(default_factory=list)
    config: ContainerConfig = Field(default_factory=ContainerConfig)
    network_settings: NetworkSettings = Field(default_factory=NetworkSettings)
    image_manifest_descriptor: Descriptor | None = omitempty()
    warnings: list[str] | None = omitempty()


class PortSummary(Model):
    """A port of a container in a list; `public_port` is 0 while it isn't published."""

    ip: str = omitempty("", alias="IP")
    private_port: Int64
    public_port: Int64 = omitempty(0)
    type: str = "tcp"


class SummaryHostConfig(Model):
    """The little of HostConfig that a list shows."""

    network_mode: str = omitempty("")
    annotations: dict[str, str] | None = omitempty()


class SummaryNetworkSettings(Model):
    """A container's endpoints in a list."""

    networks: dict[str, EndpointSettings] | None = Field(default_factory=dict)


class ContainerSummary(Model):
    """A container in a list; `created` is seconds since the epoch."""

    id: str
    names: list[str] = Field(default_factory=list)
    image: str = ""
    image_id: str = Field("", alias="ImageID")
    image_manifest_descriptor: Descriptor | None = omitempty()
    command: str = ""
    created: Int64 = 0
    ports: list[PortSummary] = Field(default_factory=list)
    size_rw: Int64 | None = omitempty(alias="SizeRw")
    size_root_fs: Int64 | None = omitempty(alias="SizeRootFs")
    labels: dict[str, str] | None = Field(default_factory=dict)
    state: str
    status: str = ""
    host_config: SummaryHostConfig = Field(default_factory=SummaryHostConfig)
    health: HealthSummary | None = omitempty()
    network_settings: SummaryNetworkSettings = Field(default_factory=SummaryNetworkSettings)
    mounts: list[MountPoint] = Field(default_factory=list)


class ContainerCreated(Model):
    """The answer to container_create."""

    id: str
    warnings: list[str] = Field(default_factory=list)


class ContainerUpdated(Model):
    """The answer to container_update."""

    warnings: list[str] | None = None


class TopResult(Model):
    """The answer to container_top: a table of processes."""

    titles: list[str] = Field(default_factory=list)
    processes: list[list[str]] = Field(default_factory=list)


class ContainersPruned(Model):
    """The answer to container_prune. What is reclaimed is bytes of writable layers."""

    containers_deleted: list[str] | None = None
    space_reclaimed: Int64 = 0


class WaitError(Model):
    """Why a wait could not tell the exit code."""

    message: str = ""


class WaitResult(Model):
    """The answer to container_wait."""

    error: WaitError | None = omitempty()
    status_code: Int64


class CreateContainerBody(ContainerConfig):
    """What a client sends to create a container: a configuration, with the other two inside it."""

    host_config: HostConfig = Field(default_factory=HostConfig)
    networking_config: NetworkingConfig = Field(default_factory=NetworkingConfig)


class CreateContainer(Request):
    """container_create; without a name it gets a random one.

    `read_only_recursive`: what is mounted below a read-only bind mount is read-only too.
    """

    name: str | None = None
    platform: str | None = None
    config: ContainerConfig
    host_config: HostConfig = Field(default_factory=HostConfig)
    networking_config: NetworkingConfig = Field(default_factory=NetworkingConfig)
    read_only_recursive: bool = True


class ListContainers(Request):
    """container_list; `limit` 0 is all of them."""

    all: bool = False
    limit: int = 0
    size: bool = False
    filters: dict[str, list[str]] = Field(default_factory=dict)


class InspectContainer(Request):
    """container_inspect."""

    name: str
    size: bool = False


class StartContainer(Request):
    """container_start."""

    name: str
    checkpoint: str = ""
    detach_keys: str = ""


class AttachContainer(Request):
    """container_attach; `stream` joins what runs, `logs` replays what was."""

    name: str
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    detach_keys: str = ""


class ResizeContainer(Request):
    """container_resize."""

    name: str
    height: TerminalSize
    width: TerminalSize


class ContainerLogs(Request):
    """container_logs; the bounds are nanoseconds since the epoch, `tail` is lines; `None` is no bound."""

    name: str
    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    timestamps: bool = False
    tail: int | None = None
    details: bool = False


class WaitContainer(Request):
    """container_wait. Without `tells_errors`, for clients that know of none, the answer is empty then."""

    name: str
    condition: str = "not-running"
    tells_errors: bool = True


class StopContainer(Request):
    """container_stop; without `timeout_s` the container's own holds, -1 waits for ever."""

    name: str
    signal: str | None = None
    timeout_s: int | None = None


class KillContainer(Request):
    """container_kill; KILL by default."""

    name: str
    signal: str | None = None


class RestartContainer(StopContainer):
    """container_restart."""


class PauseContainer(Request):
    """container_pause."""

    name: str


class UnpauseContainer(Request):
    """container_unpause."""

    name: str


class RenameContainer(Request):
    """container_rename."""

    name: str
    new_name: str


class UpdateContainerBody(Resources):
    """What a client sends to update a container: limits, of which an empty one is left as it is."""

    restart_policy: RestartPolicy = Field(default_factory=RestartPolicy)


class UpdateContainer(Request):
    """container_update."""

    name: str
    resources: Resources = Field(default_factory=Resources)
    restart_policy: RestartPolicy = Field(default_factory=RestartPolicy)


class TopContainer(Request):
    """container_top; `ps_args` are separated by blanks."""

    name: str
    ps_args: str = ""


class PruneContainers(Request):
    """container_prune."""

    filters: dict[str, list[str]] = Field(default_factory=dict)


class RemoveContainer(Request):
    """container_remove."""

    name: str
    force: bool = False
    volumes: bool = False
    link: bool = False
