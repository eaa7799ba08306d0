"""Parsing the output of ps."""

from __future__ import annotations

import pytest

from sampan.daemon.reports.top import parse
from sampan.errdefs import InvalidArgument


def test_only_the_asked_processes_are_shown_and_the_last_column_has_the_rest() -> None:
    shown = "USER  PID COMMAND\nroot    7 sh -c true\nroot   77 other\nroot    8 sleep 1\n"
    told = parse(shown, [7, 8])
    assert told.titles == ["USER", "PID", "COMMAND"]
    assert told.processes == [["root", "7", "sh -c true"], ["root", "8", "sleep 1"]]


def test_threads_follow_their_process() -> None:
    shown = "PID TTY CMD\n7 ? sh\n- ? thread of 7\n9 ? other\n- ? thread of 9\n"
    assert parse(shown, [7]).processes == [["7", "?", "sh"], ["-", "?", "thread of 7"]]


def test_blanks_that_are_not_ascii_are_part_of_a_word() -> None:
    assert parse("PID CMD\n7 a\u3000b\n", [7]).processes == [["7", "a\u3000b"]]


def test_a_row_may_be_shorter_than_the_titles() -> None:
    assert parse("PID TTY CMD\n7\n", [7]).processes == [["7", ""]]


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("", "Couldn't find PID field in ps output"),
        ("USER CMD\nroot sh\n", "Couldn't find PID field in ps output"),
        ("CMD PID\nsh seven\n", "Unexpected pid 'seven'"),
        ("CMD PID\nsh\n", "Unexpected pid ''"),
    ],
)
def test_what_cannot_be_read_is_refused(shown: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse(shown, [7])
