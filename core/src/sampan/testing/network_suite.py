"""The conformance suite of network drivers, and network namespaces for testing real ones.

    from sampan.testing.network_suite import NetworkDriverSuite

    @pytest.mark.root
    class TestTiny(NetworkDriverSuite):
        @pytest.fixture
        def factory(self) -> NetworkFactory:
            return TinyDriver

Each test runs in a separate network namespace that acts as the host.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from sampan.drivers import (
    L4,
    DriftDetectionDriver,
    Endpoint,
    Network,
    NetworkDriver,
    NetworkFactory,
    NetworkSettings,
    NetworkState,
    Pool,
    PublishedPort,
    Sandbox,
    UnderlayDriver,
)
from sampan.errdefs import Conflict, InvalidArgument, NotFound
from sampan.syscalls.namespaces import CLONE_NEWNET, open_namespace, setns, unshare
from sampan.syscalls.netns import new_netns, set_link_up

SUBNET = IPv4Network("10.213.0.0/16")
ANY = IPv4Address("0.0.0.0")  # noqa: S104


class HostNamespace:
    """A network namespace that acts as the host, so that a test leaves the machine's own network alone."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo

    def new_namespace(self) -> int:
        """Another namespace with its loopback up, closed at the end of the test."""
        fd = new_netns(lambda: set_link_up("lo"))
        self._undo.callback(os.close, fd)
        return fd

    def new_sandbox(self) -> Sandbox:
        """A namespace for a container."""
        return Sandbox(secrets.token_hex(32), self.new_namespace())


@contextmanager
def host_namespace() -> Iterator[HostNamespace]:
    """Put the calling thread, and all threads it starts, into a new network namespace. Needs root."""
    with ExitStack() as undo:
        own = open_namespace("net")
        undo.callback(os.close, own)
        unshare(CLONE_NEWNET)
        undo.callback(setns, own, CLONE_NEWNET)
        set_link_up("lo")
        yield HostNamespace(undo)


def make_network(
    subnet: IPv4Network = SUBNET, *, internal: bool = False, options: Mapping[str, str] | None = None
) -> Network:
    """A network with one subnet, whose first address is the gateway's."""
    id = secrets.token_hex(32)
    return Network(id, f"test-{id[:6]}", (Pool(subnet, subnet[1]),), internal, options or {})


def make_endpoint(network: Network, number: int, *, ifname: str = "eth0") -> Endpoint:
    """An endpoint with the address `number` in the network's first subnet, and the default route."""
    pool = network.pools[0]
    assert isinstance(pool.subnet, IPv4Network) and isinstance(pool.gateway, IPv4Address)
    address = IPv4Interface((pool.subnet[number], pool.subnet.prefixlen))
    mac = f"02:42:{address.ip.packed.hex(':')}"
    return Endpoint(secrets.token_hex(32), network, ifname, (address,), mac, pool.gateway)


class NetworkDriverSuite:
    """Subclass it in a plugin's tests and provide the fixture `factory`."""

    @pytest.fixture
    def factory(self) -> NetworkFactory:
        """The driver's factory; to be overridden by every plugin."""
        raise NotImplementedError("provide a fixture `factory` that answers your NetworkFactory")

    @pytest.fixture
    def host(self) -> Iterator[HostNamespace]:
        """The host namespace of one test. Needs root."""
        with host_namespace() as host:
            yield host

    @pytest.fixture
    def make_driver(
        self, factory: NetworkFactory, tmp_path: Path, host: HostNamespace
    ) -> Iterator[Callable[[str], NetworkDriver]]:
        """Creates a driver for the named instance, and closes it after the test."""
        with ExitStack() as undo:

            def make(instance: str) -> NetworkDriver:
                driver = factory(NetworkSettings(tmp_path, instance))
                undo.callback(_close, driver)
                return driver

            yield make

    @pytest.fixture
    def new_sandbox(self, host: HostNamespace) -> Callable[[], Sandbox]:
        """Creates a sandbox, and closes it after the test."""
        return host.new_sandbox

    @pytest.fixture
    def driver(self, make_driver: Callable[[str], NetworkDriver]) -> NetworkDriver:
        """The driver under test."""
        return make_driver("suite1")

    @pytest.fixture
    def network(self, driver: NetworkDriver) -> Iterator[Network]:
        """An existing network."""
        network = make_network()
        driver.create_network(network)
        yield network
        driver.remove_network(network)

    def test_it_works_on_this_host(self, driver: NetworkDriver) -> None:
        assert driver.probe() is None

    def test_a_plain_network_is_valid_and_checking_makes_nothing(self, driver: NetworkDriver) -> None:
        driver.validate(make_network())
        assert driver.list().networks == frozenset()

    def test_a_network_without_a_subnet_is_refused(self, driver: NetworkDriver) -> None:
        with pytest.raises(InvalidArgument):
            driver.validate(replace(make_network(), pools=()))

    def test_a_created_network_is_listed_until_it_is_removed(self, driver: NetworkDriver) -> None:
        network = make_network()
        driver.create_network(network)
        assert driver.list().networks == {network.id}
        driver.remove_network(network)
        assert driver.list().networks == frozenset()

    def test_creating_a_network_again_changes_nothing(self, driver: NetworkDriver, network: Network) -> None:
        driver.create_network(network)
        assert driver.list().networks == {network.id}

    def test_removing_a_network_that_is_gone_is_no_error(self, driver: NetworkDriver) -> None:
        network = make_network()
        driver.remove_network(network)
        driver.create_network(network)
        driver.remove_network(network)
        driver.remove_network(network)

    def test_the_subnet_of_a_network_is_in_use_on_the_host(self, driver: NetworkDriver, network: Network) -> None:
        assert network.pools[0].subnet in set(driver.networks_on_host())

    def test_attaching_answers_the_interface_and_its_mac(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        endpoint = make_endpoint(network, 2)
        made = driver.attach(endpoint, new_sandbox())
        assert (made.ifname, made.mac) == ("eth0", endpoint.mac)
        assert driver.list().endpoints == {endpoint.id}

    def test_without_a_wish_the_driver_chooses_a_mac(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        made = driver.attach(replace(make_endpoint(network, 2), mac=None), new_sandbox())
        assert len(bytes.fromhex(made.mac.replace(":", ""))) == 6

    def test_attaching_to_a_network_that_was_not_created_is_not_found(
        self, driver: NetworkDriver, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        with pytest.raises(NotFound):
            driver.attach(make_endpoint(make_network(), 2), new_sandbox())
        assert driver.list().endpoints == frozenset()

    def test_an_endpoint_can_be_attached_only_once(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        endpoint = make_endpoint(network, 2)
        driver.attach(endpoint, new_sandbox())
        with pytest.raises(Conflict):
            driver.attach(endpoint, new_sandbox())
        assert driver.list().endpoints == {endpoint.id}

    def test_a_detached_endpoint_is_gone_and_detaching_it_again_is_no_error(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        endpoint = make_endpoint(network, 2)
        driver.attach(endpoint, new_sandbox())
        driver.detach(endpoint)
        assert driver.list().endpoints == frozenset()
        driver.detach(endpoint)

    def test_a_sandbox_can_be_on_two_networks(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        other = make_network(IPv4Network("10.214.0.0/16"))
        driver.create_network(other)
        sandbox = new_sandbox()
        ends = (
            make_endpoint(network, 2),
            replace(make_endpoint(other, 2, ifname="eth1"), gateway_v4=None),
        )
        for endpoint in ends:
            driver.attach(endpoint, sandbox)
        assert driver.list().endpoints == {endpoint.id for endpoint in ends}
        driver.detach(ends[1])
        driver.remove_network(other)
        assert driver.list().endpoints == {ends[0].id}

    def test_many_endpoints_can_be_attached_at_once(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        endpoints = [make_endpoint(network, number) for number in range(2, 10)]
        sandboxes = [new_sandbox() for _ in endpoints]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(driver.attach, endpoints, sandboxes))
            list(pool.map(lambda endpoint: driver.publish(endpoint, (_port(8000, endpoint),)), endpoints))
        assert driver.list().endpoints == {endpoint.id for endpoint in endpoints}

    def test_a_published_port_is_refused_to_another_endpoint_in_dockers_words(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        first, second = _attached(driver, network, new_sandbox, 2)
        driver.publish(first, (PublishedPort(L4.TCP, ANY, 8080, 80),))
        with pytest.raises(Conflict, match=r"^Bind for 0\.0\.0\.0:8080 failed: port is already allocated$"):
            driver.publish(second, (PublishedPort(L4.TCP, ANY, 8080, 80),))

    def test_ports_are_published_all_or_none(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        first, second, third = _attached(driver, network, new_sandbox, 3)
        free, taken = PublishedPort(L4.TCP, ANY, 8080, 80), PublishedPort(L4.TCP, ANY, 8081, 80)
        driver.publish(first, (taken,))
        with pytest.raises(Conflict):
            driver.publish(second, (free, taken))
        driver.publish(third, (free,))

    def test_a_port_can_be_published_for_each_protocol_and_address(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        first, second = _attached(driver, network, new_sandbox, 2)
        driver.publish(first, (PublishedPort(L4.TCP, IPv4Address("127.0.0.1"), 8080, 80),))
        driver.publish(second, (PublishedPort(L4.UDP, IPv4Address("127.0.0.1"), 8080, 80),))
        driver.publish(second, (PublishedPort(L4.TCP, IPv4Address("127.0.0.2"), 8080, 80),))

    def test_publishing_the_same_again_is_no_error(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        (endpoint,) = _attached(driver, network, new_sandbox, 1)
        for _ in range(2):
            driver.publish(endpoint, (PublishedPort(L4.TCP, ANY, 8080, 80),))

    def test_an_unpublished_port_is_free_for_others(
        self, driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox]
    ) -> None:
        first, second = _attached(driver, network, new_sandbox, 2)
        driver.publish(first, (PublishedPort(L4.TCP, ANY, 8080, 80),))
        driver.unpublish(first)
        driver.unpublish(first)
        driver.publish(second, (PublishedPort(L4.TCP, ANY, 8080, 81),))

    def test_two_instances_do_not_see_each_other(
        self, make_driver: Callable[[str], NetworkDriver], new_sandbox: Callable[[], Sandbox]
    ) -> None:
        one, two = make_driver("suite1"), make_driver("suite2")
        networks = make_network(), make_network(IPv4Network("10.214.0.0/16"))
        one.create_network(networks[0])
        two.create_network(networks[1])
        endpoint = make_endpoint(networks[0], 2)
        one.attach(endpoint, new_sandbox())
        assert one.list() == NetworkState(frozenset({networks[0].id}), frozenset({endpoint.id}))
        assert two.list() == NetworkState(frozenset({networks[1].id}), frozenset())
        two.remove_network(networks[1])
        assert one.list().networks == {networks[0].id}
        one.detach(endpoint)
        one.remove_network(networks[0])


def _close(driver: NetworkDriver) -> None:
    """Close a driver that keeps files open by its method `close`, which the interface does not require."""
    if isinstance(driver, DriftDetectionDriver):
        driver.unwatch()
    getattr(driver, "close", lambda: None)()


def _port(base: int, endpoint: Endpoint) -> PublishedPort:
    return PublishedPort(L4.TCP, ANY, base + endpoint.addresses[0].ip.packed[-1], 80)


def _attached(
    driver: NetworkDriver, network: Network, new_sandbox: Callable[[], Sandbox], count: int
) -> list[Endpoint]:
    """Attached endpoints to publish ports for."""
    if isinstance(driver, UnderlayDriver):
        pytest.skip("no ports of the host lead to the containers of this driver")
    endpoints = [make_endpoint(network, number) for number in range(2, 2 + count)]
    for endpoint in endpoints:
        driver.attach(endpoint, new_sandbox())
    return endpoints
