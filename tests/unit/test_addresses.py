"""The host's addresses, as the kernel reports them."""

from ipaddress import IPv4Address

import pytest

from sampan.syscalls.addresses import host_addresses
from sampan.testing.network_suite import host_namespace
from tests.support.network_stage import run


def test_loopback_is_there() -> None:
    assert ("lo", IPv4Address("127.0.0.1")) in host_addresses()


@pytest.mark.root
def test_interfaces_have_their_own_addresses_not_those_of_the_other_end() -> None:
    with host_namespace():
        run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        run("ip", "link", "set", "one", "up")
        run("ip", "addr", "add", "192.0.2.1", "peer", "192.0.2.2", "dev", "one")
        run("ip", "addr", "add", "2001:db8::7/64", "dev", "one", "nodad")
        found = {str(address) for ifname, address in host_addresses() if ifname == "one"}
    assert found == {"192.0.2.1", "2001:db8::7"}
