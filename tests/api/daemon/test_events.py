"""Events as followers and questioners see them, with Docker's names and attributes."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess

LIFE = ["create", "attach", "connect", "start", "exec_create: true", "exec_start: true", "exec_die", "resize", "kill",
        "disconnect", "die", "stop", "destroy"]  # fmt: skip


def live_once(house: InProcess) -> str:
    """Everything that can happen to a container."""
    id = house.create("cat", name="web", Labels={"tier": "front"}, Tty=True, OpenStdin=True)
    with house.hijacked(f"/containers/{id}/attach?stream=1&stdout=1"):
        house.call("POST", f"/containers/{id}/start")
    one = house.call("POST", f"/containers/{id}/exec", {"Cmd": ["true"], "AttachStdout": True}).body["Id"]
    with house.hijacked(f"/exec/{one}/start", {}) as raw:
        raw.read()
    house.call("POST", f"/containers/{id}/resize?h=1&w=2")
    house.call("POST", f"/containers/{id}/stop")
    house.call("DELETE", f"/containers/{id}")
    return id


def told(house: InProcess, *, version: str = "", **filters: list[str]) -> list[dict[str, Any]]:
    """All events up to now."""
    path = f"{version}/events?since=0&until={time.time_ns() / 1e9:.9f}&filters={quote(json.dumps(filters))}"
    with house.opened("GET", path) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


@pytest.fixture(scope="module")
def lived(make_shared_house: MakeHouse) -> InProcess:
    """A daemon in which everything has happened to one container, once."""
    house = make_shared_house()
    live_once(house)
    return house


def test_a_life_is_told_in_order_and_the_same_to_followers_and_questioners(house: InProcess) -> None:
    with house.opened("GET", "/events") as following:
        id = live_once(house)
        followed = [json.loads(following.readline()) for _ in LIFE]
    assert sorted(event["Action"] for event in followed) == sorted(LIFE)
    assert told(house) == followed
    own = [event for event in followed if event["Type"] == "container"]
    assert {event["Actor"]["ID"] for event in own} == {id}
    for event in own:
        common = {"image": IMAGE, "name": "web", "tier": "front"}
        assert common.items() <= event["Actor"]["Attributes"].items()
        assert (event["scope"], event["time"]) == ("local", event["timeNano"] // 10**9)
    sequence = [event["seq"] for event in followed]
    assert sequence == sorted(set(sequence))


@pytest.mark.parametrize(
    ("action", "attributes"),
    [
        ("die", {"exitCode": "143", "execDuration": "0"}),
        ("kill", {"signal": "15"}),
        ("resize", {"height": "1", "width": "2"}),
        ("exec_die", {"exitCode": "0"}),
    ],
)
def test_an_event_says_what_docker_says(lived: InProcess, action: str, attributes: dict[str, str]) -> None:
    [event] = told(lived, event=[action])
    assert attributes.items() <= event["Actor"]["Attributes"].items()


def test_networks_and_volumes_tell_of_their_containers(house: InProcess) -> None:
    id = live_once(house)
    connect, disconnect = told(house, type=["network"])
    bridge = house.call("GET", "/networks/bridge").body["Id"]
    for event, action in ((connect, "connect"), (disconnect, "disconnect")):
        assert (event["Action"], event["Actor"]["ID"]) == (action, bridge)
        assert event["Actor"]["Attributes"] == {"container": id, "name": "bridge", "type": "bridge"}
    house.call("POST", "/volumes/create", {"Name": "kept"})
    house.call("DELETE", "/volumes/kept")
    assert [(event["Action"], event["Actor"]) for event in told(house, type=["volume"])] == [
        (action, {"ID": "kept", "Attributes": {"driver": "local"}}) for action in ("create", "destroy")
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"container": ["web"]}, 11),
        ({"container": ["nobody"]}, 0),
        ({"type": ["container"], "event": ["start", "die"]}, 2),
        ({"label": ["tier=front"]}, 11),
        ({"label": ["tier=back"]}, 0),
        ({"event": ["exec_start"]}, 1),
        ({"network": ["bridge"]}, 2),
        ({"image": [IMAGE]}, 11),
        ({"scope": ["local"]}, 13),
        ({"scope": ["swarm"]}, 0),
    ],
)
def test_filters_of_events(lived: InProcess, filters: Any, count: int) -> None:
    assert len(told(lived, **filters)) == count


def test_an_unknown_filter_is_refused(lived: InProcess) -> None:
    answer = lived.call("GET", f"/events?filters={quote(json.dumps({'nope': ['1']}))}")
    assert (answer.status, answer.message) == (400, "invalid filter 'nope'")


def test_old_clients_find_the_old_fields(lived: InProcess) -> None:
    [old], [new] = told(lived, version="/v1.50", event=["start"]), told(lived, event=["start"])
    assert (old["status"], old["id"], old["from"]) == ("start", new["Actor"]["ID"], IMAGE)
    assert not {"status", "id", "from"} & new.keys()


def test_the_past_outlives_the_daemon_and_numbers_go_on(house: InProcess) -> None:
    live_once(house)
    before = told(house)
    house.stop()
    house.start()
    house.create("true")
    after = told(house)
    assert after[: len(before)] == before
    assert [event["seq"] for event in after] == list(range(1, len(after) + 1))


def test_a_follower_ends_at_its_bound(house: InProcess) -> None:
    house.create("true")
    with house.opened("GET", f"/events?since=1&until={time.time() + 0.3:.9f}") as following:
        assert [json.loads(line)["Action"] for line in following.read().splitlines()] == ["create"]


def test_images_tell_of_their_names(house: InProcess) -> None:
    house.call("POST", f"/images/{IMAGE}/tag?repo=ark&tag=2")
    house.call("DELETE", "/images/ark:2")
    assert [(event["Action"], event["Actor"]["Attributes"]["name"]) for event in told(house, type=["image"])] == [
        ("tag", "ark:2"),
        ("untag", "ark:2"),
    ]
