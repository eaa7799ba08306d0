"""The bridge driver's parts that need neither root nor the kernel's help."""

from __future__ import annotations

import errno
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sampan.drivers import Network, NetworkSettings
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.syscalls import nftables, rtnetlink
from sampan.testing.network_suite import make_network
from sampan_bridge_net import forwarding, hooks
from sampan_bridge_net.driver import BridgeDriver
from sampan_bridge_net.forwarding import Forwarding
from sampan_bridge_net.settings import BridgeSettings, GatewayMode, settings_of


def with_option(name: str, value: str) -> Network:
    return make_network(options={name: value})


def test_without_options_the_settings_are_dockers() -> None:
    network = make_network()
    assert settings_of(network, "test") == BridgeSettings(
        f"spn-{network.id[:8]}", icc=True, masquerade=True, mtu=1500, modes=dict.fromkeys((4, 6), GatewayMode.NAT)
    )


def test_the_default_bridge_is_named_after_the_instance() -> None:
    network = with_option("com.docker.network.bridge.default_bridge", "true")
    assert settings_of(network, "test").ifname == "spn-test0"


@pytest.mark.parametrize(("mode", "masquerades"), [("nat", True), ("routed", False), ("nat-unprotected", True)])
def test_a_routed_network_is_not_masqueraded(mode: str, masquerades: bool) -> None:
    settings = settings_of(with_option("com.docker.network.bridge.gateway_mode_ipv6", mode), "test")
    assert (settings.masquerades(6), settings.masquerades(4)) == (masquerades, True)


def test_an_internal_network_is_not_masqueraded() -> None:
    assert settings_of(make_network(internal=True), "test").masquerade is False


@pytest.mark.parametrize(("value", "meaning"), [("true", True), ("1", True), ("F", False), ("0", False), ("", True)])
def test_booleans_are_read_as_docker_reads_them(value: str, meaning: bool) -> None:
    assert settings_of(with_option("com.docker.network.bridge.enable_icc", value), "test").icc is meaning


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("com.docker.network.bridge.enable_icc", "maybe"),
        ("com.docker.network.driver.mtu", "big"),
        ("com.docker.network.driver.mtu", "67"),
        ("com.docker.network.driver.mtu", "65536"),
        ("com.docker.network.bridge.name", "a name far too long"),
        ("com.docker.network.bridge.name", 'x" drop'),
        ("com.docker.network.bridge.name", "../all"),
        ("com.docker.network.bridge.name", ".."),
        ("com.docker.network.bridge.gateway_mode_ipv4", "sideways"),
        ("com.docker.network.bridge.gateway_mode_ipv6", "isolated"),
        ("com.docker.network.bridge.host_binding_ipv4", "::1"),
    ],
)
def test_options_that_make_no_sense_are_refused(option: str, value: str) -> None:
    with pytest.raises(InvalidArgument):
        settings_of(with_option(option, value), "test")


def test_a_missing_libnftables_is_one_sentence_naming_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnftables-of-nowhere.so.1")
    nftables.load.cache_clear()
    try:
        reason = BridgeDriver(NetworkSettings(tmp_path, "test")).probe()
        with pytest.raises(Unsupported):
            nftables.load()
    finally:
        nftables.load.cache_clear()
    assert reason is not None and "install the package libnftables1" in reason and "\n" not in reason


def test_registering_the_driver_does_not_import_pyroute2() -> None:
    """The import costs some 200 ms and 9 to 26 MB, and only creating a network needs it."""
    name, factory = hooks.sampan_network_driver()
    assert (name, factory) == ("bridge_net", BridgeDriver)
    code = (
        "import sys; from sampan_bridge_net.hooks import *; sampan_network_driver(); print('pyroute2' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output == "False\n"


def test_messages_are_aligned_and_their_lengths_right() -> None:
    veth = rtnetlink.Veth("spv0", 7, 1500, "eth0", 9, "02:42:0a:00:00:02")
    body = rtnetlink.new_veth(veth).body
    assert len(body) % 4 == 0
    assert bytes.fromhex("02420a000002") in body and b"eth0\0" in body


def test_the_kernels_no_is_an_oserror() -> None:
    with pytest.raises(OSError, match=r".") as caught:
        rtnetlink.request(rtnetlink.delete_link("no-such-link"))
    assert caught.value.errno in (errno.ENODEV, errno.EPERM)


def test_forwarding_that_was_on_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = tmp_path / "ip_forward"
    monkeypatch.setitem(forwarding.SWITCHES, 4, switch)
    switch.write_text("1\n")
    state = Forwarding(tmp_path)
    state.enable(4)
    assert not state.is_ours(4)


def test_forwarding_that_was_turned_on_is_ours_until_the_next_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch, boot_id = tmp_path / "ip_forward", tmp_path / "boot_id"
    monkeypatch.setitem(forwarding.SWITCHES, 4, switch)
    monkeypatch.setattr(forwarding, "BOOT_ID", boot_id)
    switch.write_text("0\n")
    boot_id.write_text("first\n")
    Forwarding(tmp_path).enable(4)
    assert switch.read_text() == "1"
    Forwarding(tmp_path).enable(4)
    assert Forwarding(tmp_path).is_ours(4)
    boot_id.write_text("second\n")
    assert not Forwarding(tmp_path).is_ours(4)


def test_a_network_without_a_gateway_or_ipv4_is_refused(tmp_path: Path) -> None:
    driver = BridgeDriver(NetworkSettings(tmp_path, "test"))
    network = make_network(IPv4Network("10.0.0.0/24"))
    for pools in ((), tuple(type(pool)(pool.subnet, None) for pool in network.pools)):
        with pytest.raises(InvalidArgument):
            driver.validate(type(network)(network.id, network.name, pools))
