"""sampand's configuration: dockerd's names where it has them, from a JSON file and from flags."""

from __future__ import annotations

import enum
import hashlib
import json
import re
import socket
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sampan.errdefs import InvalidArgument

DEFAULT_FILE = Path("/etc/sampan/daemon.json")
NO_BRIDGE = "none"
"""The setting `bridge` of a daemon without a default bridge."""


AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


def _uncut(path: Path) -> Path:
    if ":" in str(path):
        raise ValueError(f"{path} contains a colon, at which conmon would cut off the paths of the logs")
    return path


def _slice(parent: str) -> str:
    """The absolute path of the parent cgroup; like dockerd, accepts it with or without the leading `/`."""
    names = [name for name in parent.split("/") if name not in ("", ".")]
    if len(names) == 1 and parent.endswith(".slice"):
        raise ValueError("systemd slice received as cgroup parent when using cgroupfs")
    if not names or ".." in names:
        raise ValueError(f'invalid cgroup-parent "{parent}": it must be the path of a cgroup, such as /containers')
    return "/" + "/".join(names)


def _bridge(name: str) -> str:
    if name not in ("", NO_BRIDGE):
        raise ValueError(
            f'"{name}" can\'t be the default bridge: sampand makes its own, and "{NO_BRIDGE}" turns it off'
        )
    return name


def _mirror(url: str) -> str:
    """Validate and normalise a mirror's URL as dockerd does (moby daemon/pkg/registry, ValidateMirror)."""
    scheme, separator, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    if not separator or scheme not in ("http", "https") or not authority:
        raise ValueError(f'invalid mirror: unsupported scheme "{scheme}" in "{url}"')
    if "@" in authority:
        raise ValueError("invalid mirror: username/password not allowed in URI")
    if path or any(mark in authority for mark in "?#"):
        raise ValueError(f'invalid mirror: path, query, or fragment at end of the URI "{url}"')
    return f"{scheme}://{authority}"


class AddressPoolConfig(BaseModel):
    """A range from which networks without a subnet of their own take one of prefix length `size`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: IPv4Network
    size: int = Field(ge=1, le=32)


class RuntimeConfig(BaseModel):
    """A named OCI runtime."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    path: str
    runtime_args: tuple[str, ...] = Field((), alias="runtimeArgs")


class PublishedPorts(enum.StrEnum):
    """Who may reach published ports from outside: everybody, or whoever the host's own firewall accepts."""

    OPEN = "open"
    HOST_FIREWALL = "host-firewall"


def _kebab(name: str) -> str:
    return name.replace("_", "-")


_SIZE = re.compile(r"(\d+)\s*(%|[kmgt]?)b?", re.IGNORECASE)
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t"))}


class Amount(NamedTuple):
    """An amount of disk space: bytes, or percent if `is_share`."""

    value: int
    is_share: bool


def _amount(text: object) -> object:
    """Parse `85%`, or bytes with one of Docker's units (`500m`, `20GB`: powers of 1024)."""
    if not isinstance(text, str):
        return text
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[2] == "%" and int(found[1]) > 100):
        raise ValueError(f'"{text}" is neither a share of the disk (85%) nor a size (50GB)')
    if found[2] == "%":
        return Amount(int(found[1]), is_share=True)
    return Amount(int(found[1]) * _UNITS[found[2].lower()], is_share=False)


class DaemonConfig(BaseModel):
    """All settings of a daemon, with their defaults. The file's keys are the names with dashes, as in daemon.json.

    Sizes are bytes, times seconds. Drivers are named as their plugins offer them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_kebab, populate_by_name=True)

    data_root: Annotated[AbsolutePath, AfterValidator(_uncut)] = Path("/var/lib/sampan")
    exec_root: AbsolutePath = Path("/run/sampan")
    pidfile: AbsolutePath = Path("/run/sampan.pid")
    hosts: tuple[str, ...] = ("unix:///run/sampan/sampan.sock",)
    read_only_hosts: tuple[str, ...] = ()
    group: str | None = None
    tlsverify: bool = False
    tlscacert: AbsolutePath | None = None
    tlscert: AbsolutePath | None = None
    tlskey: AbsolutePath | None = None
    debug: bool = False
    log_level: str = Field("info", pattern="^(debug|info|warn|warning|error|fatal)$")
    log_format: str = Field("text", pattern="^(text|json)$")
    labels: tuple[str, ...] = ()

    storage_driver: str = "overlayfs"
    network_driver: str = "bridge_net"
    resource_driver: str = "cgroups_v2"
    strict_resources: bool = False
    cgroup_parent: Annotated[str, AfterValidator(_slice)] | None = None

    default_runtime: str | None = None
    runtimes: dict[str, RuntimeConfig] = {}
    init_path: AbsolutePath | None = None
    default_shm_size: int = 64 * 1024 * 1024
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}
    events_kept: int = Field(100_000, ge=1)
    shutdown_timeout: int = Field(15, ge=0)

    bridge: Annotated[str, AfterValidator(_bridge)] = ""
    bip: IPv4Interface | None = None
    ip: IPv4Address = IPv4Address("0.0.0.0")  # noqa: S104  Docker's default for published ports
    published_ports: PublishedPorts = PublishedPorts.OPEN
    default_address_pools: tuple[AddressPoolConfig, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()

    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[Annotated[str, AfterValidator(_mirror)], ...] = ()
    registry_certs_dirs: tuple[AbsolutePath, ...] = (Path("/etc/sampan/certs.d"), Path("/etc/docker/certs.d"))
    max_concurrent_downloads: int = Field(6, ge=1)
    max_concurrent_uploads: int = Field(5, ge=1)

    gc_high: Annotated[Amount | None, BeforeValidator(_amount)] = None
    gc_low: Annotated[Amount | None, BeforeValidator(_amount)] = None
    gc_unused_days: int | None = Field(None, ge=1)
    gc_interval: int = Field(300, ge=1)

    job_slots: int = Field(64, ge=1)
    job_queue: int = Field(256, ge=0)
    workers: int = Field(32, ge=4)

    @model_validator(mode="after")
    def _check_bridge(self) -> DaemonConfig:
        if self.bridge and self.bip:
            raise ValueError("You specified -b & --bip, mutually exclusive options. Please specify only one")
        return self

    @model_validator(mode="after")
    def _check_gc(self) -> DaemonConfig:
        if self.gc_low is None:
            return self
        if self.gc_high is None:
            raise ValueError("gc-low needs gc-high")
        if self.gc_low.is_share != self.gc_high.is_share or self.gc_low.value >= self.gc_high.value:
            raise ValueError("gc-low must be below gc-high, and both must be shares or both sizes")
        return self

    @property
    def instance(self) -> str:
        """Eight characters that distinguish this daemon's kernel objects from those of others on the host."""
        return hashlib.sha256(str(self.data_root.resolve()).encode()).hexdigest()[:8]

    @property
    def host_name(self) -> str:
        """The host's name, as `docker info` shows it."""
        return socket.gethostname()


def load_config(file: Path | None, flags: dict[str, Any]) -> DaemonConfig:
    """Combine the settings of the file and of the flags (names with underscores).

    Without `file`, the default one is read if it exists. Raises `InvalidArgument` for an invalid setting and, as
    dockerd does, for one given in both places; the message names it.
    """
    settings = _read(file) if file else _read(DEFAULT_FILE) if DEFAULT_FILE.exists() else {}
    given = {_kebab(name): value for name, value in flags.items() if value is not None}
    if both := sorted(settings.keys() & given.keys()):
        raise InvalidArgument(
            "the following directives are specified both as a flag and in the configuration file: " + ", ".join(both)
        )
    try:
        config = DaemonConfig.model_validate({**settings, **given})
    except ValidationError as error:
        raise InvalidArgument(_sentence(error)) from None
    _check_tls(config)
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text())
    except OSError as error:
        raise InvalidArgument(f"unable to read the configuration file {file}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"unable to configure the daemon with file {file}: {error}") from None
    if not isinstance(settings, dict):
        raise InvalidArgument(f"unable to configure the daemon with file {file}: it does not contain a JSON object")
    return settings


def _sentence(error: ValidationError) -> str:
    unknown = [str(one["loc"][0]) for one in error.errors() if one["type"] == "extra_forbidden"]
    if unknown:
        return "the following directives don't match any configuration option: " + ", ".join(unknown)
    first = error.errors()[0]
    where = "".join(f" {part}" for part in [".".join(map(str, first["loc"]))] if part)
    return f"invalid setting{where}: {first['msg'].removeprefix('Value error, ')}"


def _check_tls(config: DaemonConfig) -> None:
    if not any(host.startswith("tcp://") for host in (*config.hosts, *config.read_only_hosts)):
        return
    if not (config.tlsverify and config.tlscacert and config.tlscert and config.tlskey):
        raise InvalidArgument(
            "a TCP listener needs mutual TLS: give --tlsverify, --tlscacert, --tlscert and --tlskey "
            "(whoever reaches the API is root on this host)"
        )
