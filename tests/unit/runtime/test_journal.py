"""The journal's native protocol, over a socket the test listens on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.runtime.journal import JournalSocket, encode, field_name
from tests.support.journal import FakeJournal


@pytest.mark.parametrize(
    "value", [b"plain", b"", b"with = in it", b"two\nlines", b"\n", b"\xff\x00", b"x" * (1 << 20)], ids=len
)
def test_a_field_arrives_as_it_was_sent(tmp_path: Path, value: bytes) -> None:
    sender = JournalSocket(tmp_path / "s")
    with FakeJournal(tmp_path / "s") as journal:
        sender.send(encode({"MESSAGE": value, "PRIORITY": b"6"}))
        assert journal.next() == {"MESSAGE": value, "PRIORITY": b"6"}
    sender.close()


def test_a_journal_is_there_while_somebody_listens(tmp_path: Path) -> None:
    sender = JournalSocket(tmp_path / "s")
    assert not sender.is_there()
    with FakeJournal(tmp_path / "s"):
        assert sender.is_there()
    with pytest.raises(FileNotFoundError):
        sender.send(b"A=b\n")
    sender.close()


def test_a_journal_that_takes_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    sender = JournalSocket(tmp_path / "s")
    with FakeJournal(tmp_path / "s"), pytest.raises(BlockingIOError):
        while True:
            sender.send(b"A=b\n")
    sender.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [("tier", "TIER"), ("com.docker.x-1", "COM_DOCKER_X_1"), ("_private", "PRIVATE"), ("größe", "GR__E"), ("__", "")],
)
def test_names_of_fields_are_as_the_journal_takes_them(text: str, name: str) -> None:
    assert field_name(text) == name
