"""Garbage collection with a policy, over the whole daemon in memory, with a fake clock and disk."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any
from urllib.parse import quote

import pytest

from sampan.daemon.clock import now_ns
from sampan.daemon.images.gc import Collector, DataRootDisk, DiskState, GcPolicy, Watermarks
from tests.api.daemon.in_process import IMAGE, InProcess, wait_until

DAY_NS = 86_400 * 10**9
NAMES = {IMAGE, "labelled:1", "keeper:1"}


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = now_ns()

    def __call__(self) -> int:
        return self.now


class FakeDisk:
    """A file system of `total` bytes that holds the images of a house and `other` bytes besides."""

    def __init__(self, house: InProcess, other: int, total: int) -> None:
        self.house = house
        self.other = other
        self.total = total
        self.asked = 0

    def state(self) -> DiskState:
        self.asked += 1
        return DiskState(self.other + self.images(), self.total)

    def images(self) -> int:
        return asyncio.run_coroutine_threadsafe(self.house.daemon.images.disk_bytes(), self.house._loop).result(30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def collect(house: InProcess, clock: Clock, policy: GcPolicy, disk: FakeDisk | None = None) -> None:
    house.run(Collector(house.daemon, policy, disk or FakeDisk(house, 0, 1), clock).collect())


def names(house: InProcess) -> set[str]:
    return {tag for one in house.call("GET", "/images/json").body for tag in one["RepoTags"] or [one["Id"]]}


def events(house: InProcess) -> list[tuple[str, str]]:
    filters = quote(json.dumps({"type": ["image"]}))
    body: bytes = house.call("GET", f"/events?since=1&until={now_ns() // 10**9 + 1}&filters={filters}").body
    return [(one["Action"], one["Actor"]["Attributes"].get("name", "")) for one in map(json.loads, body.splitlines())]


def use(house: InProcess, clock: Clock, image: str, days: int) -> None:
    """Use the image in a container, and set its last use to `days` from now."""
    id = house.create(Image=image)
    house.call("DELETE", f"/containers/{id}")
    found = house.daemon.images.get(image)
    house.run(house.daemon.images.note_use(found, clock.now + days * DAY_NS))
    assert house.daemon.images.last_used_ns(found) == clock.now + days * DAY_NS


def size(house: InProcess, image: str) -> int:
    """The image's size according to the storage driver."""
    [layer] = house.daemon.images.get(image).layers
    return house.storage.usage(layer).size_bytes


def test_without_a_policy_nothing_goes(house: InProcess, clock: Clock) -> None:
    clock.now += 1000 * DAY_NS
    assert not GcPolicy().is_on
    collect(house, clock, GcPolicy())
    assert names(house) == NAMES


def test_images_unused_for_days_go_with_an_event_and_a_line_each(
    house: InProcess, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for image, days in ((IMAGE, 0), ("labelled:1", 3), ("keeper:1", 8)):
        use(house, clock, image, days)
    clock.now += 10 * DAY_NS
    with caplog.at_level(logging.INFO, "sampan.daemon.images.gc"):
        collect(house, clock, GcPolicy(unused_days=7))
    assert names(house) == {"keeper:1"}
    lines = [one.getMessage() for one in caplog.records if one.name == "sampan.daemon.images.gc"]
    assert [line.split(" (")[0] for line in lines] == [
        f"gc: removed image {IMAGE}, unused for 10 days",
        "gc: removed image labelled:1, unused for 7 days",
    ]
    told = events(house)
    assert [action for action, _ in told if action in ("untag", "delete", "prune")] == [
        *("untag", "delete") * 2,
        "prune",
    ]


@pytest.mark.parametrize("state", ["created", "running", "exited", "mounted"])
def test_an_image_of_a_container_is_never_touched(house: InProcess, clock: Clock, state: str) -> None:
    match state:
        case "created":
            house.create()
        case "running":
            house.launch()
        case "exited":
            house.finish("true")
        case "mounted":
            house.create(
                Image="keeper:1", HostConfig={"Mounts": [{"Type": "image", "Source": IMAGE, "Target": "/i"}]}
            )
    clock.now += 1000 * DAY_NS
    everything = GcPolicy(Watermarks(high=1, low=0, is_share=False), unused_days=1)
    collect(house, clock, everything)
    assert names(house) == ({IMAGE, "keeper:1"} if state == "mounted" else {IMAGE})


def test_above_the_high_watermark_the_longest_unused_go_until_the_low_one(house: InProcess, clock: Clock) -> None:
    for image, days in (("keeper:1", 0), (IMAGE, 1), ("labelled:1", 2)):
        use(house, clock, image, days)
    clock.now += 5 * DAY_NS
    disk = FakeDisk(house, other=0, total=0)
    used = disk.images()
    disk.total = used * 2
    disk.other = used * 2 - used  # 100 % in use
    low = 100 - 50 * size(house, "keeper:1") // used  # removing the first one is enough
    collect(house, clock, GcPolicy(Watermarks(high=99, low=low, is_share=True)), disk)
    assert names(house) == {IMAGE, "labelled:1"}
    collect(house, clock, GcPolicy(Watermarks(high=99, low=low, is_share=True)), disk)
    assert names(house) == {IMAGE, "labelled:1"}
    assert disk.asked == 2


def test_between_the_watermarks_nothing_goes(house: InProcess, clock: Clock) -> None:
    clock.now += 5 * DAY_NS
    disk = FakeDisk(house, other=0, total=0)
    disk.total = disk.images() * 2  # 50 %
    collect(house, clock, GcPolicy(Watermarks(high=60, low=10, is_share=True)), disk)
    assert names(house) == NAMES


def test_a_budget_in_bytes_counts_the_images_alone(house: InProcess, clock: Clock) -> None:
    for image, days in (("labelled:1", 0), (IMAGE, 1), ("keeper:1", 2)):
        use(house, clock, image, days)
    clock.now += 5 * DAY_NS
    used = house.run(house.daemon.images.disk_bytes())
    collect(house, clock, GcPolicy(Watermarks(high=used, low=0, is_share=False)))
    assert names(house) == NAMES
    collect(house, clock, GcPolicy(Watermarks(high=used - 1, low=used - 1, is_share=False)))
    assert names(house) == {IMAGE, "keeper:1"}


def test_images_without_a_name_go_first(house: InProcess, clock: Clock) -> None:
    use(house, clock, "keeper:1", 3)
    house.call("POST", "/images/keeper:1/tag?repo=labelled&tag=1")  # the image that had this name now has none
    dangling = names(house) - {*NAMES}
    assert len(dangling) == 1
    clock.now += 5 * DAY_NS
    used = house.run(house.daemon.images.disk_bytes())
    collect(house, clock, GcPolicy(Watermarks(high=used - 1, low=used - 1, is_share=False)))
    assert names(house) == NAMES


def test_what_was_just_used_stays_even_if_room_is_short(
    house: InProcess, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    use(house, clock, "keeper:1", 1)
    clock.now += DAY_NS
    collect(house, clock, GcPolicy(Watermarks(high=1, low=0, is_share=False)))
    assert names(house) == {"keeper:1"}
    assert "no more images can be removed" in caplog.text


def test_a_container_that_goes_was_the_images_last_use_also_for_the_next_daemon(
    house: InProcess, clock: Clock
) -> None:
    before = now_ns()
    id = house.create()
    house.call("DELETE", f"/containers/{id}")
    used = house.daemon.images.last_used_ns(house.daemon.images.get(IMAGE))
    assert before <= used <= now_ns()
    house.stop()
    house.start()
    assert house.daemon.images.last_used_ns(house.daemon.images.get(IMAGE)) == used


def test_a_tag_is_a_use(house: InProcess) -> None:
    before = now_ns()
    house.call("POST", f"/images/{IMAGE}/tag?repo=again&tag=1")
    assert house.daemon.images.last_used_ns(house.daemon.images.get(IMAGE)) >= before // 1000 * 1000


def test_beside_a_prune_it_waits_for_the_next_time(house: InProcess, clock: Clock) -> None:
    clock.now += 1000 * DAY_NS
    with house.daemon.pruning("images"):
        collect(house, clock, GcPolicy(unused_days=1))
    assert names(house) == NAMES
    collect(house, clock, GcPolicy(unused_days=1))
    assert names(house) == set()


def test_a_daemon_with_a_policy_collects_by_itself(make_house: Any, clock: Clock) -> None:
    house = make_house(gc=GcPolicy(Watermarks(high=1, low=0, is_share=False), interval_s=0.05))
    for name in NAMES:
        house.run(house.daemon.images.note_use(house.daemon.images.get(name), clock.now - DAY_NS))
    wait_until(lambda: names(house) == set())


def test_the_disk_of_the_data_root_is_measured_as_df_does(house: InProcess) -> None:
    state = DataRootDisk(house.root).state()
    assert 0 < state.used_bytes < state.total_bytes
