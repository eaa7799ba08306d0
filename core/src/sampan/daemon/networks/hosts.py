"""A container's hosts, hostname and resolv.conf files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.daemon.container import Container
from sampan.daemon.networks import links
from sampan.daemon.settings.namespaces import HOST, network_mode
from sampan.models import ContainerConfig, HostConfig
from sampan.network.files import ContainerFiles, check

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon


def check_names(config: ContainerConfig, host: HostConfig) -> None:
    """Raise `InvalidArgument` with Docker's message for what can't be written to these files."""
    check(
        ContainerFiles(
            config.hostname,
            extra_hosts=host.extra_hosts or (),
            dns=host.dns or (),
            dns_search=host.dns_search or (),
            dns_options=host.dns_options or (),
        )
    )


def write_files(daemon: Daemon, container: Container) -> None:
    """Write the files into the container's directory, in place."""
    daemon.networks.write_files(container.id, container.dir, container_files(daemon, container))


async def serve_names(daemon: Daemon, container: Container) -> None:
    """Serve the container's DNS queries, if its networks need that; called again after a restart of the daemon."""
    await daemon.networks.serve_names(container.id, container_files(daemon, container))


def container_files(daemon: Daemon, container: Container) -> ContainerFiles:
    """What the container's request and the daemon's settings say about names."""
    host, config = container.record.host_config, container.record.config
    settings = daemon.settings
    return ContainerFiles(
        hostname=config.hostname or settings.name,
        domainname=config.domainname or "",
        extra_hosts=tuple(host.extra_hosts or ()),
        dns=tuple(host.dns or settings.dns),
        dns_search=tuple(host.dns_search or settings.dns_search),
        dns_options=tuple(host.dns_options or settings.dns_options),
        links=links.entries(daemon, container),
        host_network=network_mode(host) == HOST,
    )


async def tell_linkers(daemon: Daemon, container: Container) -> None:
    """Now that the container has addresses, write them to the hosts files of running containers that link to it."""
    for parent in daemon.containers:
        if parent.running and container.id in parent.record.links.values():
            await asyncio.to_thread(write_files, daemon, parent)
