"""Sizes and durations, formatted as docker's go-units does."""

from __future__ import annotations

import pytest

from sampan.cli.human import ago, binary_size, duration_ns, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1982000, "1.98MB"), (1000, "1kB"), (123456789, "123MB"), (5e9, "5GB")],
)
def test_sizes_are_decimal_with_three_digits(count: float, text: str) -> None:
    assert size(count) == text


def test_memory_is_binary_with_four_digits() -> None:
    assert binary_size(25277000000) == "23.54GiB"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1m30s", 90 * 10**9),
        ("500ms", 5 * 10**8),
        ("1.5h", 5400 * 10**9),
        ("-2s", -2 * 10**9),
        ("0", 0),
        ("3µs", 3000),
    ],
)
def test_durations_are_gos(text: str, nanoseconds: int) -> None:
    assert duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"), [("5", "missing unit in duration"), ("x", "invalid duration"), ("", "invalid duration")]
)
def test_a_malformed_duration_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        duration_ns(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (15 * 86400, "2 weeks"),
        (61 * 86400, "2 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_spans_are_rough(seconds: float, text: str) -> None:
    assert ago(seconds) == text
