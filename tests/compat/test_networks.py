"""Networks through real clients: create, connect, disconnect, prune; name resolution; connectivity."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import docker as docker_py
import docker.types
import pytest

from tests.compat.test_run import await_server
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Engine

IMAGE = "busybox:test"
SERVER = ("httpd", "-f", "-h", "/www")
SUBNET = "10.99.7.0/24"


@pytest.fixture
def sea(client: Client) -> Iterator[str]:
    """A network for the test alone."""
    client("network", "create", "--subnet", SUBNET, "--label", "planks=3", "sea")
    yield "sea"
    for container in client("ps", "-aq").split():
        client("rm", "-f", container)
    client("network", "rm", "sea")


def inspect(client: Client, kind: str, name: str) -> Any:
    return json.loads(client(kind, "inspect", name))[0]


def test_containers_find_each_other_by_name_and_alias(client: Client, sea: str) -> None:
    client(
        "run", "-d", "--name", "web", "--network", sea, "--network-alias", "www", IMAGE, "httpd", "-f", "-h", "/www"
    )
    await_server(client, "web")
    for name in ("web", "www", "web.sea"):
        assert client("run", "--rm", "--network", sea, IMAGE, "wget", "-qO-", f"http://{name}/") == "three planks"
    name_server = client("run", "--rm", "--network", sea, IMAGE, "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11" in name_server and "ndots:0" in name_server
    assert client.run("run", "--rm", IMAGE, "wget", "-T", "3", "-qO-", "http://web/").returncode != 0


def test_the_long_form_of_network(client: Client, sea: str) -> None:
    asked = f"name={sea},alias=keeper,ip=10.99.7.77"
    client("run", "-d", "--name", "store", "--network", asked, IMAGE, "sleep", "600")
    assert "10.99.7.77" in client("run", "--rm", "--network", sea, IMAGE, "nslookup", "keeper")


def test_a_running_container_joins_and_leaves(client: Client, sea: str) -> None:
    client("run", "-d", "--name", "guest", IMAGE, "sleep", "600")
    client("network", "connect", "--ip", "10.99.7.9", "--alias", "visitor", "--gw-priority", "7", sea, "guest")
    assert "10.99.7.9" in client("exec", "guest", "ip", "addr")
    assert client("exec", "guest", "ip", "route", "show", "default").split()[2] == "10.99.7.1"
    assert "10.99.7.9" in client("run", "--rm", "--network", sea, IMAGE, "nslookup", "visitor")
    assert [one["Name"] for one in inspect(client, "network", sea)["Containers"].values()] == ["guest"]
    refused = client.run("network", "rm", sea)
    assert refused.returncode == 1 and "has active endpoints" in refused.stderr
    client("network", "disconnect", sea, "guest")
    assert "10.99.7.9" not in client("exec", "guest", "ip", "addr") + client("exec", "guest", "cat", "/etc/hosts")
    assert client("exec", "guest", "ip", "route", "show", "default") != ""


def test_networks_are_listed_and_pruned(client: Client, sea: str) -> None:
    client("network", "create", "--internal", "lake")
    client("run", "-d", "--network", sea, IMAGE, "sleep", "600")
    assert client("network", "ls", "--filter", "label=planks", "--format", "{{.Name}} {{.Driver}}") == "sea bridge"
    assert {"sea", "lake"} <= set(client("network", "ls", "--format", "{{.Name}}").split())
    assert client("network", "prune", "--force").split() == ["Deleted", "Networks:", "lake"]
    assert client("network", "prune", "--force", "--filter", "label=nosuch") == ""
    assert client("network", "rm", "-f", "nosuch") == ""


def test_pools_are_put_together(client: Client, sea: str) -> None:
    client(
        *("network", "create", "--ipv6", "--subnet", "10.98.0.0/16", "--gateway", "10.98.0.9", "--ip-range"),
        *("10.98.4.0/24", "--aux-address", "printer=10.98.4.1", "--subnet", "fd98::/64", "-o", "x=y", "lake"),
    )
    try:
        seen = inspect(client, "network", "lake")
        four, six = sorted(seen["IPAM"]["Config"], key=lambda pool: ":" in pool["Subnet"])
        assert (four["Gateway"], four["IPRange"], four["AuxiliaryAddresses"]["printer"]) == (
            "10.98.0.9",
            "10.98.4.0/24",
            "10.98.4.1",
        )
        assert six["Subnet"] == "fd98::/64" and seen["Options"] == {"x": "y"}
    finally:
        client("network", "rm", "lake")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("create", "--subnet", "10.99.7.0/25", "lake"), "Pool overlaps with other one on this address space"),
        (("create", "--gateway", "10.1.0.1", "lake"), "every ip-range or gateway must have a corresponding subnet"),
        (("create", "--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "lake"), "no matching subnet for gateway"),
        (("create", "sea"), "network with name sea already exists"),
        (("create", "host"), "operation is not permitted on predefined host network"),
        (("rm", "bridge"), "bridge is a pre-defined network and cannot be removed"),
        (("rm", "nosuch"), "network nosuch not found"),
        (("connect", "sea", "nosuch"), "No such container: nosuch"),
    ],
)
def test_refusals(client: Client, sea: str, words: tuple[str, ...], complaint: str) -> None:
    refused = client.run("network", *words)
    assert refused.returncode == 1 and complaint in refused.stderr, refused


def test_docker_py_makes_and_uses_networks(engine: Engine) -> None:
    library = docker_py.DockerClient(base_url=engine.host, version="auto")
    try:
        pool = docker.types.IPAMPool(subnet="10.97.0.0/24", gateway="10.97.0.1")
        ipam = docker.types.IPAMConfig(pool_configs=[pool])
        network = library.networks.create("sea", driver="bridge", ipam=ipam, labels={"a": "b"}, check_duplicate=True)
        container = library.containers.run(IMAGE, "sleep 600", detach=True, name="web")
        network.connect(container, aliases=["www"], ipv4_address="10.97.0.44")
        network.reload()
        assert [one.name for one in network.containers] == ["web"]
        output = library.containers.run(IMAGE, "nslookup www", network="sea", remove=True)
        assert b"10.97.0.44" in output
        network.disconnect(container, force=True)
        assert [one.name for one in library.networks.list(names=["sea"], greedy=True)] == ["sea"]
        network.remove()
        with pytest.raises(docker_py.errors.NotFound):
            library.networks.get("sea")
    finally:
        library.close()


def interfaces(client: Client, container: str) -> list[str]:
    return client("exec", container, "ls", "/sys/class/net").split()


def test_without_a_default_bridge_there_is_a_loopback_only(
    start_engine: Callable[..., Engine], archives: Archives
) -> None:
    engine = start_engine("--bridge", "none")
    client = Client("docker", engine)
    client("load", "--input", str(archives.busybox))
    assert client("network", "ls", "--format", "{{.Name}}").split() == ["host", "none"]
    assert "network bridge not found" in client.run("network", "inspect", "bridge").stderr
    for name, flags in (("plain", []), ("named", ["--network", "bridge", "-p", "80"])):
        client("run", "-d", "--name", name, *flags, IMAGE, "sleep", "600")
        assert interfaces(client, name) == ["lo"]
        told = inspect(client, "container", name)["NetworkSettings"]
        assert (told["Ports"], told["Networks"]["bridge"]["IPAddress"]) == ({}, "")
    client("network", "create", "sea")
    client("run", "-d", "--name", "web", "--network", "sea", IMAGE, "sleep", "600")
    assert sorted(interfaces(client, "web")) == ["eth0", "lo"]
    client("create", "--name", "late", IMAGE, "sleep", "600")
    engine.stop()
    engine.flags = []
    engine.start()
    client("start", "late")
    assert sorted(interfaces(client, "late")) == ["eth0", "lo"]
