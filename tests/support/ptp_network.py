"""A network driver as a third party might write it: each container has its own link to the host, which routes.

Networks and endpoints are recorded in files: a record is written before the link is created and removed after it is
deleted, so after a crash the core finds everything with `list`. The host must forward packets; nothing is filtered.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from sampan.drivers import (
    Attachment,
    Endpoint,
    Network,
    NetworkFactory,
    NetworkSettings,
    NetworkState,
    PublishedPort,
    Sandbox,
    hookimpl,
)
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.syscalls.netns import run_in_netns


class PtpDriver:
    """A `NetworkDriver` and an `UnderlayDriver`, over IPv4."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._networks = settings.state_dir / settings.instance / "networks"
        self._endpoints = settings.state_dir / settings.instance / "endpoints"

    def probe(self) -> str | None:
        return None

    def validate(self, network: Network) -> None:
        if network.internal:
            raise InvalidArgument("a ptp network can't be internal: the host routes")
        if not network.pools or any(pool.subnet.version != 4 or pool.gateway is None for pool in network.pools):
            raise InvalidArgument(f"network {network.name} needs IPv4 subnets with a gateway, and no others")

    def create_network(self, network: Network) -> None:
        self.validate(network)
        self._networks.mkdir(parents=True, exist_ok=True)
        new = self._networks / f".{network.id}"
        new.write_text(json.dumps([str(pool.subnet) for pool in network.pools]))
        new.rename(self._networks / network.id)

    def remove_network(self, network: Network) -> None:
        (self._networks / network.id).unlink(missing_ok=True)

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        if not (self._networks / endpoint.network.id).exists():
            raise NotFound(f"network {endpoint.network.name} was not created")
        self._endpoints.mkdir(parents=True, exist_ok=True)
        try:
            (self._endpoints / endpoint.id).touch(exist_ok=False)
        except FileExistsError:
            raise Conflict(f"endpoint {endpoint.id} exists already") from None
        try:
            _make_link(endpoint, sandbox)
            mac = run_in_netns(sandbox.netns_fd, lambda: _furnish(endpoint))
            for address in endpoint.addresses:
                _ip("route", "add", f"{address.ip}/32", "dev", _ifname(endpoint))
        except BaseException:
            self.detach(endpoint)
            raise
        return Attachment(endpoint.ifname, mac)

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """Nothing to do: the host end of the link is all that the driver needs."""

    def detach(self, endpoint: Endpoint) -> None:
        with suppress(OSError):  # the link is already gone
            socket.if_nametoindex(_ifname(endpoint))
            _ip("link", "delete", _ifname(endpoint))
        (self._endpoints / endpoint.id).unlink(missing_ok=True)

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Never called: containers have their own addresses."""

    def unpublish(self, endpoint: Endpoint) -> None:
        """Nothing is published."""

    def list(self) -> NetworkState:
        return NetworkState(frozenset(_notes(self._networks)), frozenset(_notes(self._endpoints)))

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        for route in json.loads(_ip("-json", "route")):
            if route["dst"] != "default":
                yield ip_network(route["dst"])
        for id in _notes(self._networks):
            yield from map(ip_network, json.loads((self._networks / id).read_text()))


def _notes(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("[!.]*")]


def _make_link(endpoint: Endpoint, sandbox: Sandbox) -> None:
    """Create a veth pair with one end in the sandbox; on the other, the host proxies ARP and has the gateways."""
    ifname, mac = _ifname(endpoint), ("address", endpoint.mac) if endpoint.mac else ()
    inside = ("name", endpoint.ifname, *mac, "netns", f"/proc/self/fd/{sandbox.netns_fd}")
    _ip("link", "add", ifname, "type", "veth", "peer", *inside, fd=sandbox.netns_fd)
    Path(f"/proc/sys/net/ipv4/conf/{ifname}/proxy_arp").write_text("1")
    for pool in endpoint.network.pools:
        _ip("address", "add", f"{pool.gateway}/32", "dev", ifname)
    _ip("link", "set", ifname, "up")


def _furnish(endpoint: Endpoint) -> str:
    """Configure the interface inside the sandbox; returns its MAC address."""
    for address in endpoint.addresses:
        _ip("address", "add", str(address), "dev", endpoint.ifname)
    _ip("link", "set", endpoint.ifname, "up")
    if endpoint.gateway_v4:
        _ip("route", "add", "default", "via", str(endpoint.gateway_v4))
    return str(json.loads(_ip("-json", "link", "show", endpoint.ifname))[0]["address"])


def _ifname(endpoint: Endpoint) -> str:
    return f"ptp{endpoint.id[:12]}"


def _ip(*words: str, fd: int | None = None) -> str:
    pass_fds = () if fd is None else (fd,)
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True, pass_fds=pass_fds)
    if done.returncode != 0:
        raise SystemFailure(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@hookimpl
def sampan_network_driver() -> tuple[str, NetworkFactory]:
    return "ptp", PtpDriver
