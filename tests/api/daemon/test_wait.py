"""container_wait when something other than the container's exit intervenes."""

from __future__ import annotations

import http.client
import json
import threading

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import InProcess
from tests.api.daemon.test_states import HeldStorage


def test_a_wait_is_broken_off_when_the_daemon_ends(house: InProcess) -> None:
    house.launch(name="box")
    with house.opened("POST", "/containers/box/wait") as waiting:
        assert waiting.status == 200
        house.stop()
        with pytest.raises(http.client.IncompleteRead) as broken:
            waiting.read()
    assert broken.value.partial == b""
    house.start()
    assert house.state("box")["Running"]


def test_an_old_client_waits_without_a_head_and_is_told_of_the_daemons_end(house: InProcess) -> None:
    house.launch(name="box")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(house.call("POST", "/v1.29/containers/box/wait")))
    waiter.start()
    while "container_wait" not in [job["Name"] for job in house.call("GET", "/jobs").body]:
        continue
    house.stop()
    waiter.join()
    assert answers[0].status == 503
    house.start()


@pytest.mark.parametrize(("version", "told"), [("", True), ("/v1.33", False)])
def test_a_wait_for_a_removal_that_fails_ends_too(make_house: MakeHouse, version: str, told: bool) -> None:
    house = make_house(HeldStorage)
    house.create(name="box")
    with house.opened("POST", f"{version}/containers/box/wait?condition=removed") as waiting:
        assert isinstance(house.storage, HeldStorage)
        house.storage.broken = True
        assert house.call("DELETE", "/containers/box").status == 500
        answer = waiting.read()
    if told:
        assert json.loads(answer) == {"StatusCode": 0, "Error": {"Message": "the disk is broken"}}
    else:
        assert answer == b""
    house.storage.broken = False


def test_a_restart_does_not_hide_the_end(house: InProcess) -> None:
    policy = {"RestartPolicy": {"Name": "always"}}
    house.create("sh", "-c", "exit 3", name="box", HostConfig=policy)
    with house.opened("POST", "/containers/box/wait?condition=next-exit") as waiting:
        house.call("POST", "/containers/box/start")
        assert json.loads(waiting.read()) == {"StatusCode": 3}
