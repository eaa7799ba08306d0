"""The driver `bridge`: a Linux bridge for each network, a veth pair for each endpoint, one nftables table."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from pathlib import Path

from sampan.drivers import (
    Attachment,
    Endpoint,
    Network,
    NetworkSettings,
    NetworkState,
    PublishedPort,
    Sandbox,
)
from sampan.errdefs import Conflict, Forbidden, InvalidArgument, NotFound, SampanError, SystemFailure, Unavailable
from sampan.syscalls import rtnetlink
from sampan.syscalls.netns import run_in_netns
from sampan_bridge_net import links
from sampan_bridge_net.conntrack import forget_flows
from sampan_bridge_net.firewall import Firewall, Zone
from sampan_bridge_net.forwarding import Forwarding
from sampan_bridge_net.gate import Gate
from sampan_bridge_net.published import udp_ports
from sampan_bridge_net.settings import BridgeSettings, GatewayMode, settings_of
from sampan_bridge_net.watch import RuleWatch

_log = logging.getLogger(__name__)

BRIDGE_PORTS = 1023
"""BR_MAX_PORTS of the kernel's net/bridge/br_private.h, minus one, as port number 0 is not used."""

IPV4_CONF = Path("/proc/sys/net/ipv4/conf")


class BridgeDriver:
    """A `NetworkDriver` on bridge, veth and nftables. The aliases of links are marks that say whose they are."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._instance = settings.instance
        self._gate = Gate(settings.instance)
        self._firewall = Firewall(settings.instance, self._gate)
        self._forwarding = Forwarding(settings.state_dir)
        self._watch: RuleWatch | None = None

    @property
    def firewall_backend(self) -> str:
        """Always nftables."""
        return "nftables"

    def watch(self) -> int:
        """Subscribe to changes of the kernel's nftables."""
        if self._watch is None:
            try:
                self._watch = RuleWatch()
            except OSError as error:
                raise SystemFailure(f"changes of nftables can't be watched: {error}") from error
        return self._watch.fileno()

    def has_drifted(self) -> bool:
        """Whether rules that this driver made have been removed."""
        return self._watch is not None and self._watch.saw_removal() and not self._firewall.is_whole()

    def unwatch(self) -> None:
        """Unsubscribe."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def enforce_host_firewall(self) -> None:
        """Put the gate in front of published ports."""
        self._gate.check()
        self._firewall.gated = True

    def probe(self) -> str | None:
        """Check that nftables is available: the library and the kernel's support."""
        try:
            self._firewall.check()
        except SampanError as error:
            return str(error)
        return None

    def validate(self, network: Network) -> None:
        """Check options and pools."""
        settings_of(network, self._instance)
        versions = [pool.subnet.version for pool in network.pools]
        if not versions:
            raise InvalidArgument(f"network {network.name} has no subnet")
        if len(versions) != len(set(versions)):
            raise Forbidden("bridge driver doesn't support multiple subnets")
        for pool in network.pools:
            if pool.gateway is None:
                raise InvalidArgument(f"subnet {pool.subnet} has no gateway, and the bridge needs an address")

    def create_network(self, network: Network) -> None:
        """Create the rules and the bridge. The rules come first, so that the bridge never exists without them."""
        self.validate(network)
        settings = settings_of(network, self._instance)
        if not network.internal:
            for version in {pool.subnet.version for pool in network.pools}:
                self._forwarding.enable(version)
        if self._firewall.gated:
            self._gate.put_links()
        self._firewall.put(
            _zone(network, settings), closed=[version for version in (4, 6) if self._forwarding.is_ours(version)]
        )
        if not self._firewall.gated:  # a daemon with another setting may have left its gate
            self._gate.delete_links()
        mark, mac = self._mark("network", network.id), _bridge_mac(network)
        bridge = links.Bridge(settings.ifname, mark, mac, settings.mtu, _bridge_addresses(network, settings, mac))
        links.put_bridge(bridge, lambda: _tune_bridge(bridge))

    def remove_network(self, network: Network) -> None:
        """Delete the bridge and the network's elements of the table."""
        links.delete_bridge(self._mark("network", network.id))
        if self._firewall.drop(network.id):
            self._gate.delete_links()

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        """Create a veth pair with the peer in the sandbox, and configure the peer from inside."""
        settings = settings_of(endpoint.network, self._instance)
        bridge_index = rtnetlink.index_of(settings.ifname)
        if bridge_index is None:
            raise NotFound(f"network {endpoint.network.name} has no bridge {settings.ifname}")
        ifname = _port_name(endpoint)
        veth = rtnetlink.Veth(ifname, bridge_index, settings.mtu, endpoint.ifname, sandbox.netns_fd, endpoint.mac)
        port = rtnetlink.set_bridge_port(
            ifname,
            alias=self._mark("endpoint", endpoint.id),
            isolated=not settings.icc,
            ipv6=rtnetlink.IPV6_CONF.exists(),
        )
        try:
            rtnetlink.request(rtnetlink.new_veth(veth))
        except OSError as error:
            raise _attach_failure(endpoint, error) from error
        try:
            rtnetlink.request(port)
            mac = run_in_netns(sandbox.netns_fd, lambda: _furnish(endpoint))
        except OSError as error:
            self.detach(endpoint)
            raise _attach_failure(endpoint, error) from error
        return Attachment(endpoint.ifname, mac)

    def detach(self, endpoint: Endpoint) -> None:
        """Delete the veth pair."""
        try:
            rtnetlink.request(rtnetlink.delete_link(_port_name(endpoint)))
        except OSError as error:
            if not rtnetlink.is_missing(error):
                raise SystemFailure(f"interface {_port_name(endpoint)} can't be deleted: {error}") from error

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Add an element for each port to the table's maps, in one transaction."""
        by_version: dict[int, IPv4Address | IPv6Address] = {
            address.version: address.ip for address in endpoint.addresses
        }
        for port in ports:
            if port.host_ip.version not in by_version:
                raise InvalidArgument(
                    f"port {port.container_port}/{port.protocol} can't be published on {port.host_ip}: "
                    f"the endpoint has no IPv{port.host_ip.version} address"
                )
        forget_flows(udp_ports(self._firewall.publish(endpoint.id, ports, by_version)))

    def unpublish(self, endpoint: Endpoint) -> None:
        """Remove the endpoint's elements."""
        forget_flows(udp_ports(self._firewall.unpublish(endpoint.id)))

    def list(self) -> NetworkState:
        """The networks and endpoints whose links have our mark."""
        found: dict[str, set[str]] = {"network": set(), "endpoint": set()}
        for alias in links.aliases():
            match alias.split():
                case ["sampan", self._instance, ("network" | "endpoint") as kind, id]:
                    found[kind].add(id)
        return NetworkState(frozenset(found["network"]), frozenset(found["endpoint"]))

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        """The destinations of the host's routes."""
        return iter(links.networks_on_host())

    def _mark(self, kind: str, id: str) -> str:
        return f"sampan {self._instance} {kind} {id}"


def _port_name(endpoint: Endpoint) -> str:
    return f"spv{endpoint.id[:12]}"


def _bridge_mac(network: Network) -> str:
    """A MAC address that is the same at each start. The first byte says that it is locally administered."""
    return f"02:{bytes.fromhex(network.id[:10]).hex(':')}"


def _bridge_addresses(
    network: Network, settings: BridgeSettings, mac: str
) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """The gateways' addresses, plus, with IPv6, the link-local address that the kernel would derive from the MAC.

    The kernel sends neighbour solicitations for forwarded packets from that address. Left to itself it would have it
    only about two seconds after the first container (duplicate address detection), and until then no published port
    would answer.
    """
    gateways = tuple(
        ip_interface((pool.gateway, pool.subnet.prefixlen))
        for pool in network.pools
        if pool.gateway and settings.modes[pool.subnet.version] is not GatewayMode.ISOLATED
    )
    if any(address.version == 6 for address in gateways):
        return *gateways, links.link_local(mac)
    return gateways


def _zone(network: Network, settings: BridgeSettings) -> Zone:
    subnets = tuple(pool.subnet for pool in network.pools)
    versions = {subnet.version for subnet in subnets}

    def having(mode: GatewayMode) -> frozenset[int]:
        return frozenset(version for version in versions if settings.modes[version] is mode)

    return Zone(
        network.id,
        settings.ifname,
        subnets,
        network.internal,
        settings.icc,
        masquerade=frozenset(filter(settings.masquerades, versions)),
        routed=having(GatewayMode.ROUTED),
        unprotected=having(GatewayMode.UNPROTECTED),
        known=frozenset(versions) - having(GatewayMode.ISOLATED),
    )


def _tune_bridge(bridge: links.Bridge) -> None:
    (IPV4_CONF / bridge.ifname / "route_localnet").write_text("1")
    rtnetlink.tune_ipv6(bridge.ifname, enabled=any(address.version == 6 for address in bridge.addresses))


def _furnish(endpoint: Endpoint) -> str:
    """Configure the interface from inside the sandbox; returns its MAC address."""
    gateways = [gateway for gateway in (endpoint.gateway_v4, endpoint.gateway_v6) if gateway is not None]
    rtnetlink.furnish(endpoint.ifname, endpoint.addresses, gateways)
    return endpoint.mac or rtnetlink.mac_of(endpoint.ifname)


def _attach_failure(endpoint: Endpoint, error: OSError) -> SampanError:
    if error.errno == errno.EEXIST:
        return Conflict(f"endpoint {endpoint.id} exists already: {error.strerror}")
    if error.errno == errno.EXFULL:
        return Unavailable(
            f"network {endpoint.network.name} is full: a bridge has room for {BRIDGE_PORTS:,} containers"
        )
    return SystemFailure(f"endpoint {endpoint.id} can't be attached to network {endpoint.network.name}: {error}")
