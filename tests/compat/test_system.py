"""version, info, events, networks, volumes, plugins."""

import json
import time

from tests.support.clients import Client
from tests.support.engines import Engine

IMAGE = "busybox:test"


def test_version_names_client_and_server(client: Client) -> None:
    shown = json.loads(client("version", "--format", "{{json .}}"))
    assert shown["Client"]["Version"]
    assert shown["Server"]["ApiVersion"] >= "1.41"


def test_info_counts_containers_and_images(client: Client) -> None:
    client("create", IMAGE, "true")
    shown = json.loads(client("info", "--format", "{{json .}}"))
    assert shown["Containers"] == 1
    assert shown["Images"] >= 2
    assert not shown.get("ServerErrors")


def test_info_as_text_names_the_storage_driver(client: Client) -> None:
    assert "Storage Driver: overlay" in client("info")


def test_events_tell_the_life_of_a_container_in_order(client: Client) -> None:
    before = f"{time.time():.3f}"
    client("run", "--name", "watched", IMAGE, "true")
    client("rm", "watched")
    words = ("events", "--since", before, "--until", f"{time.time() + 1:.3f}", "--filter", "container=watched")
    told = client(*words, "--format", "{{.Action}}").splitlines()
    assert [action for action in told if action in {"create", "start", "die", "destroy"}] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip


def test_events_arrive_as_they_happen(client: Client) -> None:
    watching = client.spawn(
        "events", "--since", f"{time.time():.3f}", "--filter", "event=create", "--format", "{{.Type}}"
    )
    client("create", IMAGE, "true")
    assert watching.stdout is not None
    assert watching.stdout.readline() == "container\n"
    watching.kill()
    watching.communicate()


def test_the_three_networks_are_there(client: Client) -> None:
    listed = client("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert {"bridge bridge", "host host", "none null"} <= set(listed)


def test_inspect_of_the_bridge_tells_its_subnet_and_containers(client: Client, engine: Engine) -> None:
    container = client("run", "-d", "--name", "there", IMAGE, "sleep", "600")
    shown = json.loads(client("network", "inspect", "bridge"))[0]
    assert shown["IPAM"]["Config"][0]["Subnet"]
    address = engine.get("/containers/there/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert shown["Containers"][container]["IPv4Address"].partition("/")[0] == address


def test_volumes_are_made_listed_and_removed(client: Client) -> None:
    assert client("volume", "create", "--label", "plank=one", "made") == "made"
    assert "made" in client("volume", "ls", "--quiet").split()
    assert json.loads(client("volume", "inspect", "made"))[0]["Labels"] == {"plank": "one"}
    assert client("volume", "rm", "made") == "made"
    assert "made" not in client("volume", "ls", "--quiet").split()


def test_a_volume_in_use_cannot_be_removed(client: Client) -> None:
    client("create", "--name", "holder", "-v", "held:/data", IMAGE, "true")
    done = client.run("volume", "rm", "held")
    assert done.returncode == 1
    assert "volume is in use" in done.stderr
    client("rm", "holder")
    client("volume", "rm", "held")
