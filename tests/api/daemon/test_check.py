"""system check, over the whole daemon in memory. (Its images have no blobs, which are reported missing.)"""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from sampan.daemon.container import CONTAINER_LABEL
from tests.api.daemon.in_process import IMAGE, InProcess
from tests.unit.daemon.making import record


def problems(house: InProcess, method: str = "GET") -> list[dict[str, Any]]:
    answer = house.call(method, "/system/check")
    assert answer.status == 200, answer
    return [one for one in answer.body["Problems"] if one["Kind"] != "missing blob"]


def test_a_check_counts_what_it_looked_at(house: InProcess) -> None:
    house.create()
    body = house.call("GET", "/system/check").body
    assert (body["Images"], body["Layers"], body["Containers"]) == (3, 3, 1)
    assert {one["Kind"] for one in body["Problems"]} == {"missing blob"}
    assert all(not one["Repaired"] and "Action" not in one for one in body["Problems"])


def test_containers_in_every_state_are_no_problem(house: InProcess) -> None:
    house.create()
    house.launch()
    house.finish("true")
    house.create(HostConfig={"Mounts": [{"Type": "image", "Source": IMAGE, "Target": "/image"}]})
    house.call("POST", "/commit?repo=new:1")
    assert problems(house) == problems(house, "POST") == []


def test_a_container_that_is_being_made_is_no_problem(house: InProcess) -> None:
    with house.daemon.making(record("f" * 64)):
        house.storage.prepare("f" * 64, None, labels={CONTAINER_LABEL: "f" * 64})
        assert problems(house) == problems(house, "POST") == []
    assert [one["Name"] for one in problems(house)] == ["f" * 64]


def test_the_snapshot_of_no_container_is_removed_by_a_repair_only(house: InProcess) -> None:
    house.storage.prepare("e" * 64, None, labels={CONTAINER_LABEL: "e" * 64})
    detail = "it is active, and belongs to no image and no container"
    found = {"Kind": "stray snapshot", "Name": "e" * 64, "Detail": detail, "Repaired": False}
    assert problems(house) == problems(house) == [found]
    assert problems(house, "POST") == [{**found, "Action": "removed", "Repaired": True}]
    assert problems(house) == []
    assert house.ps() == []


@pytest.mark.parametrize("whole", [True, False], ids=["snapshot", "files"])
def test_a_container_whose_files_are_gone_is_told_of_and_can_only_be_removed(house: InProcess, whole: bool) -> None:
    id = house.create(name="web")
    [mount] = house.storage.mounts(id)
    shutil.rmtree(mount.source)
    if whole:
        house.storage.remove(id)
    [found] = problems(house)
    assert (found["Kind"], found["Name"]) == ("lost container", id)
    [left] = problems(house, "POST")
    assert (left["Action"], left["Repaired"]) == ("remove the container: its files can't be had back", False)
    assert house.call("DELETE", f"/containers/{id}").status == 204
    assert problems(house) == []


def test_a_record_that_cannot_be_read_is_told_of(house: InProcess) -> None:
    id = house.create(name="web")
    house.run(
        house.daemon.database.write(
            lambda connection: connection.execute("UPDATE containers SET document = ? WHERE id = ?", ("{}", id))
        )
    )
    house.stop()
    house.start()
    [found] = problems(house)
    assert (found["Kind"], found["Name"], found["Detail"]) == ("lost container", id, "its record can't be read")


def test_a_check_is_a_job(house: InProcess) -> None:
    answer = house.call("GET", "/system/check")
    job = house.call("GET", f"/jobs/{answer.headers['sampan-job']}").body
    assert (job["Name"], job["State"]) == ("system_check", "succeeded")
