"""Events as followers and later queries see them, with Docker's names and attributes."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess

LIFE = ["create", "attach", "connect", "start", "exec_create: true ", "exec_start: true ", "exec_die", "resize",
        "kill", "disconnect", "die", "stop", "destroy"]  # fmt: skip


def live_once(house: InProcess) -> str:
    """Take a container through everything that can happen to it."""
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
    sequence = [event["sampanSeq"] for event in followed]
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


def test_a_container_that_can_not_start_leaves_its_network(house: InProcess) -> None:
    id = house.create("nosuch")
    assert house.call("POST", f"/containers/{id}/start").status == 400
    assert [event["Action"] for event in told(house, type=["network"])] == ["connect", "disconnect"]


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


def test_an_unknown_filter_lets_all_through_as_with_docker(lived: InProcess) -> None:
    assert len(told(lived, nope=["1"])) == len(LIFE)


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
    assert [event["sampanSeq"] for event in after] == list(range(1, len(after) + 1))


def test_a_follower_ends_at_its_bound(house: InProcess) -> None:
    house.create("true")
    with house.opened("GET", f"/events?since=1&until={time.time() + 0.3:.9f}") as following:
        assert [json.loads(line)["Action"] for line in following.read().splitlines()] == ["create"]


def test_images_tell_of_their_names(house: InProcess) -> None:
    id = house.call("GET", f"/images/{IMAGE}/json").body["Id"]
    house.call("POST", f"/images/{IMAGE}/tag?repo=ark&tag=2")
    house.call("DELETE", "/images/ark:2")
    house.call("DELETE", f"/images/{IMAGE}")
    actors = [
        (event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"]) for event in told(house, type=["image"])
    ]
    assert actors == [
        ("tag", id, {"name": "ark:2"}),
        ("untag", id, {"name": id}),
        ("untag", id, {"name": id}),
        ("delete", id, {"name": id}),
    ]


def test_volumes_tell_who_has_them(house: InProcess) -> None:
    id = house.finish("true", HostConfig={"Binds": ["kept:/data:ro"]})
    _, mounted, unmounted = told(house, type=["volume"])
    assert (mounted["Action"], mounted["Actor"]["ID"]) == ("mount", "kept")
    assert mounted["Actor"]["Attributes"] == {
        "driver": "local",
        "container": id,
        "destination": "/data",
        "read/write": "false",
        "propagation": "",
    }
    assert (unmounted["Action"], unmounted["Actor"]["Attributes"]) == (
        "unmount",
        {"driver": "local", "container": id},
    )


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("since=seq:x", 400, 'invalid value for "since": "seq:x" must be "seq:" and the number of an event'),
        ("since=seq:-1", 400, 'invalid value for "since": "seq:-1" must be "seq:" and the number of an event'),
        (
            "since=seq:9999",
            400,
            "there is no event number 9999 yet: the last one is 13. Each data root has its own numbers",
        ),
        ("since=x", 400, 'invalid value for "since": failed to parse value as time or duration: "x"'),
        ("until=x", 400, 'invalid value for "until": failed to parse value as time or duration: "x"'),
        ("since=2&until=1", 400, "`since` time (2) cannot be after `until` time (1)"),
        ("filters=x", 400, "invalid filter"),
    ],
)
def test_bad_questions_are_refused(lived: InProcess, query: str, status: int, message: str) -> None:
    answer = lived.call("GET", f"/events?{query}")
    assert (answer.status, answer.message) == (status, message)


def actions(house: InProcess, query: str) -> list[str]:
    with house.opened("GET", f"/events?{query}") as answer:
        return [json.loads(line)["Action"] for line in answer.read().splitlines()]


def test_since_and_until_are_what_docker_takes_them_for(lived: InProcess) -> None:
    everything = told(lived)
    now = f"until={time.time():.9f}"
    assert actions(lived, f"since=seq:0&{now}") == actions(lived, f"since=0&{now}") == actions(lived, now) == LIFE
    assert actions(lived, f"since=seq:10&{now}") == LIFE[10:]
    assert actions(lived, f"since=seq:13&{now}") == []
    moment = everything[5]["timeNano"]
    assert actions(lived, f"since={moment // 10**9}.{moment % 10**9:09}&{now}") == LIFE[5:]
    assert actions(lived, f"since=1h&{now}") == actions(lived, f"since=2020-01-01T00:00:00Z&{now}") == LIFE
    assert actions(lived, "until=0") == []


def test_with_a_since_in_the_future_what_happens_is_told(house: InProcess) -> None:
    with house.opened("GET", f"/events?since={time.time() + 3600:.3f}") as following:
        house.create("true")
        assert json.loads(following.readline())["Action"] == "create"


def test_what_is_kept_is_bounded_and_what_is_dropped_is_said(make_house: MakeHouse) -> None:
    house = make_house(events_kept=3)
    for number in range(4):
        house.call("POST", "/volumes/create", {"Name": f"v{number}"})
    house.stop()
    house.start(events_kept=3)
    with house.opened(
        "GET", f"/events?since=seq:0&until={time.time():.9f}&filters=%7B%22type%22%3A%5B%22x%22%5D%7D"
    ) as following:
        [lost] = [json.loads(line) for line in following.read().splitlines()]
    assert (lost["Type"], lost["Action"], lost["sampanSeq"]) == ("daemon", "lost", 1)
    assert lost["Actor"] == {"ID": "engine-id", "Attributes": {"first": "1", "last": "1", "count": "1"}}
