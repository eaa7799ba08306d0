"""The same steps on Docker and sampan: any difference is listed with a reason in `differences.toml`, or is a bug.

An entry that no longer matches any difference fails the last test.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.steps import SCENARIOS
from tests.conftest import Archives
from tests.support.differential import Pair, assert_all_known, assert_none_stale, read_known, started_pair
from tests.support.steps import Scenario

KNOWN = read_known(Path(__file__).with_name("differences.toml"))


@pytest.fixture(scope="module")
def pair(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Pair]:
    with started_pair(session_dir, (archives.busybox, archives.layered), leak_marks) as pair:
        yield pair


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_sampan_answers_as_docker_does(scenario: Scenario, pair: Pair) -> None:
    assert_all_known(pair, scenario, KNOWN)


def test_every_known_difference_is_still_one(pair: Pair) -> None:
    assert_none_stale(pair, SCENARIOS, KNOWN)
