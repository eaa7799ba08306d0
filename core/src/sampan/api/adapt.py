"""Adapts requests of older API versions to create or update a container, all in one place.

Source: moby daemon/server/router/container, postContainersCreate and the functions named BC there.
"""

from __future__ import annotations

import json
import re

from sampan.api.versions import Version
from sampan.errdefs import InvalidArgument
from sampan.models import (
    CreateContainerBody,
    EndpointSettings,
    HostConfig,
    Mount,
    PortBinding,
    Resources,
    UpdateContainerBody,
)

_ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls"
_INTERFACE_SYSCTL = re.compile(r"(net\.[^.]+\.[^.]+)\.(eth[^.]*)\.(.+)")


def adapt_create(body: CreateContainerBody, version: Version) -> list[str]:
    """Remove what the client's version didn't have, and set what it implied; returns warnings.

    Raises `InvalidArgument` for what that version refuses.
    """
    endpoints = {name: given for name, given in (body.networking_config.endpoints_config or {}).items() if given}
    if version < (1, 44):
        _check_endpoints(body)
        if body.healthcheck:
            body.healthcheck.start_interval = 0
    for mount in body.host_config.mounts or ():
        _adapt_mount(mount, version)
    _adapt_host(body.host_config, version)
    if version < (1, 48):
        for endpoint in endpoints.values():
            endpoint.gw_priority = 0
    return [
        *_warn_of_driver(body.host_config, version),
        *_adapt_mac(body, version),
        *_adapt_sysctls(body, version),
        *_fill_port_bindings(body.host_config, version),
    ]


def read_only_recursive(version: Version) -> bool:
    """Whether read-only bind mounts are recursively read-only for the client's version."""
    return version >= (1, 44)


def adapt_update(body: UpdateContainerBody, version: Version) -> Resources:
    """The limits that a client of `version` can change (moby, postContainerUpdate)."""
    limits = Resources.model_construct(**{field: getattr(body, field) for field in Resources.model_fields})
    if version < (1, 40):
        limits.pids_limit = None
    if version < (1, 55):
        limits.blkio_weight_device = limits.blkio_device_read_bps = limits.blkio_device_write_bps = None
        limits.blkio_device_read_iops = limits.blkio_device_write_iops = None
    return limits


def _check_endpoints(body: CreateContainerBody) -> None:
    names = body.networking_config.endpoints_config or {}
    if len(names) > 1:
        raise InvalidArgument(f"Container cannot be created with multiple network endpoints: {', '.join(names)}")


def _adapt_host(host: HostConfig, version: Version) -> None:
    if version < (1, 43):
        host.annotations = None
    if version < (1, 42):
        host.console_size = [0, 0]
    if version < (1, 40):
        host.ipc_mode = host.ipc_mode or "shareable"


def _adapt_mount(mount: Mount, version: Version) -> None:
    _check_options(mount, version)
    bind, volume = mount.bind_options, mount.volume_options
    if bind and version < (1, 40):
        bind.non_recursive = False
    if bind and version < (1, 42):
        bind.create_mountpoint = False
    if bind and bind.read_only_force_recursive and version < (1, 44):
        raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    if volume and volume.subpath and version < (1, 45):
        raise InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer")
    if mount.type == "image" and version < (1, 48):
        raise InvalidArgument('Mount type "Image" needs API v1.48 or newer')


def _check_options(mount: Mount, version: Version) -> None:
    for kind, options in (("volume", "volume_options"), ("bind", "bind_options"), ("tmpfs", "tmpfs_options")):
        if mount.type == kind or getattr(mount, options) is None:
            continue
        if version >= (1, 42):
            name = f"{kind.capitalize()}Options"
            raise InvalidArgument(f'{name} must not be specified on mount type "{mount.type}"')
        setattr(mount, options, None)


def _warn_of_driver(host: HostConfig, version: Version) -> list[str]:
    if not host.volume_driver or version < (1, 48):
        return []
    for mount in host.mounts or ():
        options = mount.volume_options
        if mount.type == "volume" and not (options and options.driver_config and options.driver_config.name):
            return [
                "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via "
                "'mount'. Use '--mount type=volume,volume-driver=...' instead"
            ]
    return []


def _adapt_mac(body: CreateContainerBody, version: Version) -> list[str]:
    """Move the container-wide MAC address, the only one before 1.44 and refused since 1.52, to the endpoint."""
    address, mode = body.mac_address, body.host_config.network_mode
    if not address:
        if version < (1, 44):
            for given in (body.networking_config.endpoints_config or {}).values():
                if given:
                    given.mac_address = ""
        return []
    if version >= (1, 52):
        raise InvalidArgument(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
        )
    has_interface = mode not in ("host", "none") and not mode.startswith("container:")
    if not has_interface and version < (1, 44):
        raise InvalidArgument("conflicting options: mac-address and the network mode")
    if has_interface:
        endpoint = _endpoint(body)
        if version >= (1, 44) and endpoint.mac_address not in ("", address):
            raise InvalidArgument(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
                "or be left empty"
            )
        endpoint.mac_address = address
    if version < (1, 44):
        return []
    return [
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
    ]


def _adapt_sysctls(body: CreateContainerBody, version: Version) -> list[str]:
    """Move sysctls of an interface to its endpoint, as it doesn't exist yet when the others are set."""
    host = body.host_config
    mode = host.network_mode
    found = {name: match for name in host.sysctls or {} if (match := _INTERFACE_SYSCTL.fullmatch(name))}
    if not found or mode == "host" or mode.startswith("container:"):
        return []
    if version >= (1, 48):
        raise InvalidArgument(
            f"interface specific sysctl setting {_quoted(next(iter(found)))} must be supplied using driver option "
            f"'{_ENDPOINT_SYSCTLS}'"
        )
    if other := next((name for name, match in found.items() if match[2] != "eth0"), None):
        raise InvalidArgument(
            f"unable to determine network endpoint for sysctl {other}, use driver option '{_ENDPOINT_SYSCTLS}' to "
            "set per-interface sysctls"
        )
    sysctls = host.sysctls or {}
    moved = ",".join(f"{match[1]}.IFNAME.{match[3]}={sysctls[name]}" for name, match in found.items())
    endpoint = _endpoint(body)
    given = (endpoint.driver_opts or {}).get(_ENDPOINT_SYSCTLS)
    endpoint.driver_opts = {
        **(endpoint.driver_opts or {}),
        _ENDPOINT_SYSCTLS: f"{moved},{given}" if given else moved,
    }
    host.sysctls = {name: value for name, value in sysctls.items() if name not in found}
    return [
        f"Migrated sysctl {_quoted(','.join(found))} to DriverOpts{{{_quoted(_ENDPOINT_SYSCTLS)}:{_quoted(moved)}}}."
    ]


def _endpoint(body: CreateContainerBody) -> EndpointSettings:
    """The endpoint on the container's main network, which is added if missing."""
    endpoints = body.networking_config.endpoints_config = body.networking_config.endpoints_config or {}
    mode = body.host_config.network_mode or "default"
    names = ("default", "bridge") if mode in ("default", "bridge") else (mode,)
    name = next((name for name in names if name in endpoints), mode)
    settings = endpoints[name] = endpoints.get(name) or EndpointSettings()
    return settings


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _fill_port_bindings(host: HostConfig, version: Version) -> list[str]:
    """Publish ports with an empty list of bindings on any host port."""
    empty = [port for port, bindings in (host.port_bindings or {}).items() if not bindings]
    for port in empty:
        (host.port_bindings or {})[port] = [PortBinding()]
    if not empty or version < (1, 52):
        return []
    return [
        f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. "
        "Such bindings will be discarded in a future version."
    ]
