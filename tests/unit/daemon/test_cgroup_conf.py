"""Control files and alerts, as clients write them."""

from __future__ import annotations

import pytest

from sampan.daemon.settings.cgroup_conf import parse_alert, pressure_alerts, unified
from sampan.drivers import PressureAlert
from sampan.errdefs import InvalidArgument
from sampan.models import HostConfig


def test_an_alert_is_read_in_microseconds() -> None:
    assert parse_alert("io:full:20ms/2s") == PressureAlert("io", "full", 20_000, 2_000_000)
    assert parse_alert("cpu:some:500us/500ms") == PressureAlert("cpu", "some", 500, 500_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("memory", "it must have the form"),
        ("disk:some:1ms/1s", "it must have the form"),
        ("memory:some:150/1s", "it must have the form"),
        ("memory:some:150ms/20s", "the window must be from 500ms to 10s"),
        ("memory:some:10ms/100ms", "the window must be from 500ms to 10s"),
        ("memory:some:0ms/1s", "the stall must be longer than zero"),
        ("memory:some:2s/1s", "no longer than the window"),
    ],
)
def test_what_is_no_alert_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_alert(text)


def test_the_host_configuration_wins_over_annotations() -> None:
    annotations = {"sampan.cgroup.memory.high": "1G", "sampan.cgroup.cpu.idle": "1", "other": "x"}
    host = HostConfig(annotations=annotations, unified={"memory.high": "2G"})
    assert unified(host) == {"memory.high": "2G", "cpu.idle": "1"}


def test_several_alerts_in_one_annotation_are_split_at_commas() -> None:
    host = HostConfig(annotations={"sampan.psi-alert": "io:some:1ms/1s,cpu:some:1ms/1s"})
    assert [alert.resource for alert in pressure_alerts(host)] == ["io", "cpu"]
