"""Messages of a log: whole lines, parts of long ones, and where the next reader resumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.log_entries import MOST_BYTES, LogMessages, Message
from sampan.runtime.log_files import LogFiles, LogLimits, LogReader

STAMP = "2026-11-23T22:46:12.180698579"
TOLD = f"{STAMP}Z"


def line(words: bytes, stream: str = "stdout", flag: str = "F") -> bytes:
    return f"{STAMP}+00:00 {stream} {flag} ".encode() + words + b"\n"


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    files = LogFiles(tmp_path / "output.log", LogLimits())
    files.begin()
    return files


def write(files: LogFiles, *lines: bytes) -> None:
    with files.path.open("ab") as log:
        log.writelines(lines)


def messages_of(files: LogFiles, most: int = 1 << 20, place: tuple[int, int] | None = None) -> list[Message]:
    """All messages, reading `most` bytes at a time."""
    with LogReader(files) as reader:
        if place:
            reader.go(*place)
        messages = LogMessages(reader)
        found = []
        while (told := messages.read(most)) is not None:
            found += told
        return found + messages.rest()


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
def test_a_line_is_a_message(files: LogFiles, most: int) -> None:
    write(files, line(b"one"), line(b"two", "stderr"), line(b""))
    assert messages_of(files, most) == [
        Message(TOLD, STDOUT, b"one"),
        Message(TOLD, STDERR, b"two"),
        Message(TOLD, STDOUT, b""),
    ]


def test_pieces_of_a_line_are_put_together_stream_by_stream(files: LogFiles) -> None:
    write(files, line(b"a", flag="P"), line(b"x", "stderr", "P"), line(b"b"), line(b"y", "stderr"))
    assert messages_of(files) == [Message(TOLD, STDOUT, b"ab"), Message(TOLD, STDERR, b"xy")]


def test_a_long_line_is_told_in_parts(files: LogFiles) -> None:
    words = bytes(range(65, 91)) * 1500
    write(files, *(line(words[at : at + 8192], flag="P") for at in range(0, 32768, 8192)), line(words[32768:]))
    told = messages_of(files)
    assert b"".join(one.words for one in told) == words
    assert [len(one.words) for one in told] == [MOST_BYTES, MOST_BYTES, len(words) - 2 * MOST_BYTES]
    parts = [one.part for one in told if one.part]
    assert [(part.ordinal, part.last) for part in parts] == [(1, False), (2, False), (3, True)]
    assert len({part.id for part in parts}) == 1


def test_a_line_of_just_the_size_of_a_message_is_one(files: LogFiles) -> None:
    write(files, line(b"x" * MOST_BYTES), line(b"next"))
    assert [(len(one.words), one.part) for one in messages_of(files)] == [(MOST_BYTES, None), (4, None)]


def test_what_never_ended_comes_at_the_end(files: LogFiles) -> None:
    write(files, line(b"prompt> ", flag="P"))
    assert messages_of(files) == [Message(TOLD, STDOUT, b"prompt> ")]


@pytest.mark.parametrize("most", [1, 50, 1 << 20])
def test_from_its_place_on_the_next_reader_misses_nothing(files: LogFiles, most: int) -> None:
    write(files, line(b"one"), line(b"unended", "stderr", "P"), line(b"two"), line(b"three"))
    number = files.numbers()[-1]
    with LogReader(files) as reader:
        messages = LogMessages(reader)
        seen = []
        while (told := messages.read(most)) is not None:
            seen += [one.words for one in told]
            assert all(
                [one.words for one in messages_of(files, place=one.after)][-1:] == [b"unended"] for one in told
            )
            assert [one.words for one in messages_of(files, place=messages.place)][-1:] == [b"unended"]
        assert seen == [b"one", b"two", b"three"]
        assert messages.place == (number, len(line(b"one")))
        write(files, line(b" no more", "stderr"))
        assert [one.words for one in messages.read(1 << 20) or ()] == [b"unended no more"]
        assert messages.place == (number, files.path.stat().st_size)
    assert messages_of(files, place=messages.place) == []


def test_after_each_message_the_next_reader_begins_with_the_one_after_it(files: LogFiles) -> None:
    words = [b"%d" % number for number in range(5)]
    write(files, *map(line, words))
    for number, message in enumerate(messages_of(files)):
        assert [one.words for one in messages_of(files, place=message.after)] == words[number + 1 :]


def test_a_line_that_a_full_disk_cut_off_is_no_message(files: LogFiles) -> None:
    write(files, b"2026-11-23T22:4", line(b"whole"), line(b"next"))
    assert [one.words for one in messages_of(files)] == [b"whole", b"next"]
