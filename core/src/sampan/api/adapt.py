"""What clients of older versions mean by a request to create a container, in one place.

Source: moby daemon/server/router/container, postContainersCreate and the functions named BC there.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api.versions import Version
from sampan.errdefs import InvalidArgument
from sampan.models import CreateContainerBody, EndpointSettings, HostConfig, Mount, PortBinding


def adapt_create(body: CreateContainerBody, version: Version) -> list[str]:
    """Take out what the client's version didn't have, and put in what it took for granted; answer warnings.

    Raises `InvalidArgument` for what its version refuses.
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
    return [*_adapt_mac(body, endpoints, version), *_fill_port_bindings(body.host_config, version)]


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


def _adapt_mac(body: CreateContainerBody, endpoints: Mapping[str, EndpointSettings], version: Version) -> list[str]:
    """The container's own MAC address was the only one before 1.44, and is none from 1.52 on."""
    if version < (1, 44):
        for endpoint in endpoints.values():
            endpoint.mac_address = ""
        return []
    if not body.mac_address:
        return []
    if version >= (1, 52):
        raise InvalidArgument(
            "container-wide MAC address no longer supported; use endpoint-specific MAC address instead"
        )
    return [
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
    ]


def _fill_port_bindings(host: HostConfig, version: Version) -> list[str]:
    """A port with an empty list of bindings is one that is published on any host port."""
    empty = [port for port, bindings in (host.port_bindings or {}).items() if not bindings]
    for port in empty:
        (host.port_bindings or {})[port] = [PortBinding()]
    if not empty or version < (1, 52):
        return []
    return [
        f"Following container port(s) have an empty list of port-bindings: {', '.join(empty)}. "
        "Such bindings will be discarded in a future version."
    ]
