"""The driver `macvlan`: each endpoint is an interface on one of the host's links, created directly in its sandbox."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network, IPv6Network

from sampan.drivers import Attachment, Endpoint, Network, NetworkSettings, NetworkState, PublishedPort, Sandbox
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SampanError, SystemFailure
from sampan.syscalls import rtnetlink
from sampan.syscalls.netns import run_in_netns
from sampan_macvlan_net.notes import Notes
from sampan_macvlan_net.routes import destinations
from sampan_macvlan_net.settings import MacvlanSettings, Mode, settings_of

IFLA_MACVLAN_MODE = 1
_U32 = struct.Struct("=I")


class MacvlanDriver:
    """A `NetworkDriver` on macvlan, and an `UnderlayDriver`.

    The kernel shows the interfaces only inside their sandboxes, so the driver keeps notes of what exists.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._notes = Notes(settings.state_dir / settings.instance)

    def close(self) -> None:
        """Release the sandboxes, for callers that create many drivers in one process."""
        self._notes.close()

    def probe(self) -> str | None:
        """Always `None`: all it needs is the kernel's macvlan, which is loaded at first use."""
        return None

    def validate(self, network: Network) -> None:
        """Check options and pools."""
        settings = settings_of(network)
        if not network.pools:
            raise InvalidArgument(f"network {network.name} has no subnet")
        for id, parent in self._notes.parents().items():
            if settings.mode is Mode.PASSTHRU and parent == settings.parent and id != network.id:
                raise Conflict(f"network {id[:12]} is already using parent interface {parent}")
        if not settings.own and rtnetlink.index_of(settings.parent) is None:
            raise InvalidArgument(f"parent interface {settings.parent} does not exist")

    def create_network(self, network: Network) -> None:
        """Note the network, and create its own link if it has no parent."""
        self.validate(network)
        settings = settings_of(network)
        self._notes.put_network(network, settings.parent, own=settings.own)
        if settings.own:
            self._make_wire(network, settings.parent)

    def remove_network(self, network: Network) -> None:
        """Delete its own link, if any, and forget the network."""
        if (wire := self._notes.own_parent(network.id)) is not None:
            _delete(wire)
        self._notes.drop_network(network.id)

    def attach(self, endpoint: Endpoint, sandbox: Sandbox) -> Attachment:
        """Create the interface in the sandbox, and configure it from inside."""
        if endpoint.network.id not in self._notes.networks():
            raise NotFound(f"network {endpoint.network.name} was not created")
        settings = settings_of(endpoint.network)
        parent = rtnetlink.index_of(settings.parent)
        if parent is None:
            raise NotFound(f"parent interface {settings.parent} of network {endpoint.network.name} is gone")
        link = _link(endpoint, sandbox, settings, parent)
        with ExitStack() as undo:
            self._note(endpoint)
            undo.callback(self._notes.drop_endpoint, endpoint.id)
            try:
                rtnetlink.request(rtnetlink.new_link(link))
                undo.callback(_delete_in, sandbox, endpoint.ifname)
                mac = run_in_netns(sandbox.netns_fd, lambda: _furnish(endpoint))
            except OSError as error:
                raise _attach_failure(endpoint, error) from error
            undo.pop_all()
        self._notes.hold_sandbox(endpoint.id, sandbox.netns_fd)
        return Attachment(endpoint.ifname, mac)

    def adopt(self, endpoint: Endpoint, sandbox: Sandbox) -> None:
        """After a restart of the daemon: remember the sandbox that the interface is in."""
        self._notes.hold_sandbox(endpoint.id, sandbox.netns_fd)

    def detach(self, endpoint: Endpoint) -> None:
        """Delete the interface if its sandbox still exists, and forget the endpoint."""
        with self._notes.taken_sandbox(endpoint.id) as netns_fd:
            if netns_fd is not None:
                run_in_netns(netns_fd, lambda: _delete(endpoint.ifname))
        self._notes.drop_endpoint(endpoint.id)

    def publish(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Nothing to do: whoever is on the link reaches all ports anyway."""

    def unpublish(self, endpoint: Endpoint) -> None:
        """Nothing to do."""

    def list(self) -> NetworkState:
        """The networks and endpoints in the notes."""
        return NetworkState(frozenset(self._notes.networks()), frozenset(self._notes.endpoints()))

    def networks_on_host(self) -> Iterator[IPv4Network | IPv6Network]:
        """The destinations of the host's routes, and the subnets of this driver's networks, which have no routes."""
        yield from destinations()
        yield from self._notes.subnets()

    def _note(self, endpoint: Endpoint) -> None:
        try:
            self._notes.put_endpoint(endpoint)
        except FileExistsError:
            raise Conflict(f"endpoint {endpoint.id} exists already") from None

    def _make_wire(self, network: Network, ifname: str) -> None:
        """Create a veth pair that leads nowhere. A dummy link won't do, as not every kernel has it."""
        other = f"{ifname[:2]}e{ifname[3:]}"
        try:
            rtnetlink.request(rtnetlink.new_veth_pair(ifname, other))
        except OSError as error:
            if error.errno != errno.EEXIST:
                self._notes.drop_network(network.id)
                raise SystemFailure(f"link {ifname} of network {network.name} can't be made: {error}") from error
        for end in (ifname, other):
            if (index := rtnetlink.index_of(end)) is not None:
                rtnetlink.tune_ipv6(end, enabled=False)
                rtnetlink.request(rtnetlink.set_up(index))


def _link(endpoint: Endpoint, sandbox: Sandbox, settings: MacvlanSettings, parent: int) -> rtnetlink.Link:
    return rtnetlink.Link(
        endpoint.ifname,
        "macvlan",
        parent_index=parent,
        netns_fd=sandbox.netns_fd,
        mac=endpoint.mac,
        mtu=settings.mtu,
        data=((IFLA_MACVLAN_MODE, _U32.pack(settings.mode)),),
    )


def _furnish(endpoint: Endpoint) -> str:
    gateways = [gateway for gateway in (endpoint.gateway_v4, endpoint.gateway_v6) if gateway is not None]
    rtnetlink.furnish(endpoint.ifname, endpoint.addresses, gateways)
    return endpoint.mac or rtnetlink.mac_of(endpoint.ifname)


def _delete(ifname: str) -> None:
    try:
        rtnetlink.request(rtnetlink.delete_link(ifname))
    except OSError as error:
        if not rtnetlink.is_missing(error):
            raise SystemFailure(f"interface {ifname} can't be deleted: {error}") from error


def _delete_in(sandbox: Sandbox, ifname: str) -> None:
    with suppress(OSError):
        run_in_netns(sandbox.netns_fd, lambda: _delete(ifname))


def _attach_failure(endpoint: Endpoint, error: OSError) -> SampanError:
    if error.errno == errno.EEXIST:
        return Conflict(f"endpoint {endpoint.id} exists already: {error.strerror}")
    return SystemFailure(f"endpoint {endpoint.id} can't be attached to network {endpoint.network.name}: {error}")
