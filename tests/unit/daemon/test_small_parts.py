"""Names, signals, times, detach keys and filters."""

from __future__ import annotations

import signal

import pytest

from sampan.daemon import filters
from sampan.daemon.clock import ZERO_TIME, go_duration, human_duration, rfc3339
from sampan.daemon.settings.names import check_name, random_name
from sampan.daemon.settings.signals import parse_signal
from sampan.daemon.streams.detach import DetachFilter, parse_keys
from sampan.errdefs import InvalidArgument


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((30, "30s"), (1.5, "1.5s"), (0.2, "200ms"), (0.0015, "1.5ms"), (0.000001, "1µs")),
        *((90, "1m30s"), (60, "1m0s"), (3600, "1h0m0s"), (5400.5, "1h30m0.5s")),
    ],
)
def test_durations_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize("name", ["web", "a1", "A_b.c-d", "/web"])
def test_good_names_lose_their_slash(name: str) -> None:
    assert check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-web", "we b", "wéb", "a/b", "../x"])
def test_bad_names_are_refused_in_dockers_words(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"only \[a-zA-Z0-9\]"):
        check_name(name)


def test_random_names_are_allowed_names() -> None:
    assert check_name(random_name(digit=True))


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGTERM", 15), ("sigint", 2), ("9", 9), ("RTMIN+3", signal.SIGRTMIN + 3), ("RTMAX-1", 63)],
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "NOPE", "-9", "RTMIN+99"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid signal"):
        parse_signal(text)


def test_times_are_written_as_go_writes_them() -> None:
    assert rfc3339(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
    assert rfc3339(0) == rfc3339(None) == ZERO_TIME


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (150, "2 minutes"),
        (3600, "About an hour"), (7200, "2 hours"), (86400 * 3, "3 days"), (86400 * 21, "3 weeks"),
        (86400 * 90, "3 months"), (86400 * 800, "2 years"),
    ],
)  # fmt: skip
def test_durations_in_dockers_words(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_detach_keys_are_parsed_and_bad_ones_refused() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("a,ctrl-@") == b"a\x00"
    with pytest.raises(InvalidArgument, match=r"Invalid detach keys \(ctrl-1\) provided"):
        parse_keys("ctrl-1")


def test_detach_keys_are_found_over_the_border_of_two_reads() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"ab\x10") == b"ab"
    assert not keys.detached
    assert keys.feed(b"\x11cd") == b""
    assert keys.detached


def test_half_of_the_detach_keys_reaches_the_process_after_all() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"\x10") + keys.feed(b"x") == b"\x10x"
    assert not keys.detached


def test_filters_that_are_not_known_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'nope'"):
        filters.checked({"nope": ["1"]}, frozenset({"name"}))


def test_labels_match_by_name_and_by_value() -> None:
    assert filters.matches_labels({"label": ["a", "b=2"]}, {"a": "1", "b": "2"})
    assert not filters.matches_labels({"label": ["b=3"]}, {"b": "2"})


def test_a_yes_or_no_filter_takes_gos_words_only() -> None:
    assert filters.is_true({"dangling": ["T"]}, "dangling", True)
    with pytest.raises(InvalidArgument):
        filters.is_true({"dangling": ["yes"]}, "dangling", True)


def test_times_may_be_numbers_dates_or_durations() -> None:
    assert filters.times({"until": ["12.5", "1970-01-01T00:01:00+00:00"]}, "until") == [12.5, 60.0]
    with pytest.raises(InvalidArgument):
        filters.times({"until": ["soon"]}, "until")
