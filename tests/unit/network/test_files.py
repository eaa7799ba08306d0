from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from sampan.errdefs import InvalidArgument
from sampan.network.files import HOST_HOSTS, ContainerFiles, NetworkView, hosts, resolv_conf, write_files

WEB = ContainerFiles(hostname="web")
VIEW = NetworkView((IPv4Address("172.17.0.2"),), IPv4Address("172.17.0.1"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "host-resolv.conf"
    path.write_text(
        "# a comment\ndomain old.example\nnameserver 127.0.0.53 # stub\nnameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\nsearch corp.example lab.example\noptions edns0 trust-ad\nsortlist 10.0.0.0\n"
    )
    return path


def test_hosts_names_loopback_and_the_container_itself() -> None:
    lines = hosts(WEB, VIEW).splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert "::1\tlocalhost ip6-localhost ip6-loopback" in lines
    assert lines[-1] == "172.17.0.2\tweb"


def test_hosts_names_every_address_and_the_full_name() -> None:
    view = NetworkView((IPv4Address("172.17.0.2"), IPv6Address("fd00::2")))
    lines = hosts(ContainerFiles("web", domainname="corp.example"), view).splitlines()
    assert lines[-2:] == ["172.17.0.2\tweb.corp.example web", "fd00::2\tweb.corp.example web"]


def test_extra_hosts_come_in_with_the_gateway_by_its_special_name() -> None:
    files = ContainerFiles("web", extra_hosts=("db:10.0.0.9", "six:[fd00::9]", "six2:fd00::8", "me:host-gateway"))
    text = hosts(files, VIEW)
    for line in ("10.0.0.9\tdb", "fd00::9\tsix", "fd00::8\tsix2", "172.17.0.1\tme"):
        assert f"{line}\n" in text


@pytest.mark.parametrize("entry", ["db", "db:", "db:nowhere", "a b:10.0.0.1", "x\n10.0.0.1 y:10.0.0.1", ":10.0.0.1"])
def test_an_extra_host_that_makes_no_sense_is_refused(entry: str) -> None:
    with pytest.raises(InvalidArgument, match="add-host"):
        hosts(ContainerFiles("web", extra_hosts=(entry,)), VIEW)


def test_host_gateway_without_a_bridge_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidArgument, match="unable to derive the IP value for host-gateway"):
        hosts(ContainerFiles("web", extra_hosts=("me:host-gateway",)), NetworkView())


def test_on_the_hosts_network_the_hosts_file_holds() -> None:
    assert hosts(ContainerFiles("web", host_network=True), NetworkView()) == HOST_HOSTS.read_text()


def test_resolv_conf_is_the_hosts_without_servers_on_its_loopback(source: Path) -> None:
    assert resolv_conf(WEB, VIEW, source=source) == (
        "nameserver 192.0.2.53\nsearch corp.example lab.example\noptions edns0 trust-ad\nsortlist 10.0.0.0\n"
    )


def test_servers_with_ipv6_addresses_stay_for_who_has_ipv6(source: Path) -> None:
    view = NetworkView((IPv6Address("fd00::2"),), ipv6=True)
    assert "nameserver 2001:db8::53\n" in resolv_conf(WEB, view, source=source)


def test_with_no_server_left_dockers_defaults_are_taken(tmp_path: Path) -> None:
    (tmp_path / "stub").write_text("nameserver 127.0.0.1\nnameserver ::1\n")
    for name in ("stub", "missing"):
        text = resolv_conf(WEB, VIEW, source=tmp_path / name)
        assert text == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_the_requests_own_settings_replace_the_hosts(source: Path) -> None:
    files = ContainerFiles("web", dns=("127.0.0.1", "192.0.2.1"), dns_search=("x.example",), dns_options=("ndots:2",))
    text = resolv_conf(files, VIEW, source=source)
    assert text.startswith("nameserver 127.0.0.1\nnameserver 192.0.2.1\nsearch x.example\noptions ndots:2\n")


def test_a_single_dot_clears_the_search_list(source: Path) -> None:
    assert "search" not in resolv_conf(ContainerFiles("web", dns_search=(".",)), VIEW, source=source)


@pytest.mark.parametrize(
    "files",
    [
        ContainerFiles("web", dns=("not-an-address",)),
        ContainerFiles("web", dns_search=("a.example\nnameserver 192.0.2.66",)),
        ContainerFiles("web", dns_options=("ndots:1 rotate",)),
    ],
)
def test_settings_that_would_write_other_lines_are_refused(files: ContainerFiles, source: Path) -> None:
    with pytest.raises(InvalidArgument):
        resolv_conf(files, VIEW, source=source)


def test_on_the_hosts_network_its_servers_stay_as_they_are(source: Path) -> None:
    text = resolv_conf(ContainerFiles("web", host_network=True), NetworkView(), source=source)
    assert text.startswith("nameserver 127.0.0.53\n")


def test_files_are_written_in_place_and_readable_by_all(tmp_path: Path) -> None:
    write_files(tmp_path, WEB, VIEW)
    before = (tmp_path / "hosts").stat().st_ino
    write_files(tmp_path, WEB, NetworkView((IPv4Address("172.17.0.9"),)))
    assert (tmp_path / "hosts").stat().st_ino == before
    assert "172.17.0.9\tweb\n" in (tmp_path / "hosts").read_text()
    assert (tmp_path / "hostname").read_text() == "web\n"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
