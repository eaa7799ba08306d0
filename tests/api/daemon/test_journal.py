"""The log driver `journald`: the journal gets every line, even if it or the daemon restarts; logs read as usual."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sampan.daemon.streams import journal as telling
from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, InProcess, frames
from tests.support.journal import FakeJournal

WORDS = ("sh", "-c", "echo said; echo wrong >&2")


@pytest.fixture
def journal(session_dir: Path) -> Iterator[FakeJournal]:
    with TemporaryDirectory(dir=session_dir) as directory, FakeJournal(Path(directory) / "s") as journal:
        yield journal


@pytest.fixture
def house(make_house: MakeHouse, journal: FakeJournal) -> InProcess:
    return make_house(journal_socket=journal.path)


def restart(house: InProcess, journal: FakeJournal) -> None:
    house.stop()
    house.start(journal_socket=journal.path)


def journald(**options: str) -> dict[str, Any]:
    return {"LogConfig": {"Type": "journald", "Config": options}}


def logs(house: InProcess, id: str) -> list[tuple[int, bytes]]:
    return frames(house.call("GET", f"/containers/{id}/logs?stdout=1&stderr=1").body)


def test_a_line_is_an_entry_with_dockers_fields(house: InProcess, journal: FakeJournal) -> None:
    options = {"tag": "{{.Name}}/{{.ID}}", "labels": "com.tier", "env": "COLOUR"}
    id = house.launch(
        *WORDS, name="web", Labels={"com.tier": "back"}, Env=["COLOUR=red"], HostConfig=journald(**options)
    )
    out, err = journal.next(), journal.next()
    assert out.pop("SYSLOG_TIMESTAMP").endswith(b"Z") and err.pop("SYSLOG_TIMESTAMP")
    tag = f"web/{id[:12]}".encode()
    common = {
        "CONTAINER_ID": id[:12].encode(),
        "CONTAINER_ID_FULL": id.encode(),
        "CONTAINER_NAME": b"web",
        "CONTAINER_TAG": tag,
        "SYSLOG_IDENTIFIER": tag,
        "IMAGE_NAME": IMAGE.encode(),
        "COM_TIER": b"back",
        "COLOUR": b"red",
    }
    assert out == {**common, "MESSAGE": b"said", "PRIORITY": b"6"}
    assert err == {**common, "MESSAGE": b"wrong", "PRIORITY": b"3"}


def test_the_tag_is_the_short_id_where_none_is_asked_for(house: InProcess, journal: FakeJournal) -> None:
    id = house.launch(*WORDS, HostConfig=journald())
    assert journal.next()["SYSLOG_IDENTIFIER"] == id[:12].encode()


def test_logs_are_read_as_with_any_driver(house: InProcess, journal: FakeJournal) -> None:
    id = house.finish(*WORDS, HostConfig=journald())
    assert sorted(logs(house, id)) == [(1, b"said\n"), (2, b"wrong\n")]


def test_a_second_start_tells_no_line_twice(house: InProcess, journal: FakeJournal) -> None:
    id = house.finish("echo", "hi", HostConfig=journald())
    for _ in range(2):
        house.call("POST", f"/containers/{id}/start")
        house.call("POST", f"/containers/{id}/wait")
    assert [journal.next()["MESSAGE"] for _ in range(3)] == [b"hi"] * 3
    house.finish("echo", "last", HostConfig=journald())
    assert journal.next()["MESSAGE"] == b"last"


def test_what_is_removed_as_it_ends_is_told_first(house: InProcess, journal: FakeJournal) -> None:
    house.finish(*WORDS, HostConfig={"AutoRemove": True, **journald()})
    assert {journal.next()["MESSAGE"], journal.next()["MESSAGE"]} == {b"said", b"wrong"}


def test_another_daemon_goes_on_where_the_last_one_ended(house: InProcess, journal: FakeJournal) -> None:
    id = house.launch("cat", OpenStdin=True, HostConfig=journald())
    with house.hijacked(f"/containers/{id}/attach?stream=1&stdin=1&stdout=1") as raw:
        raw.send(b"one\n")
        assert journal.next()["MESSAGE"] == b"one"
    house.stop()
    attached = house.run(house.runtime.attach(id))
    house.run(attached.write(b"two\n"))
    assert house.run(attached.read()) == (1, b"two\n")
    house.run(attached.close())
    house.start(journal_socket=journal.path)
    assert journal.next()["MESSAGE"] == b"two"
    assert house.call("POST", f"/containers/{id}/kill").status == 204
    restart(house, journal)
    house.finish("echo", "last", HostConfig=journald())
    assert journal.next()["MESSAGE"] == b"last"


def test_a_daemon_that_ends_while_the_journal_is_slow_tells_no_line_twice(
    house: InProcess, journal: FakeJournal
) -> None:
    said = [b"line %d" % number for number in range(40)]  # more than its socket queues (net.unix.max_dgram_qlen)
    house.launch("sh", "-c", ";".join(f"echo {line.decode()}" for line in said), HostConfig=journald())
    told = [journal.next()["MESSAGE"]]
    restart(house, journal)
    told += [journal.next()["MESSAGE"] for _ in said[1:]]
    assert told == said
    house.finish("echo", "last", HostConfig=journald())
    assert journal.next()["MESSAGE"] == b"last"


def test_a_journal_that_was_away_is_told_when_it_is_back(
    house: InProcess, journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "_RETRY_S", 0.01)
    monkeypatch.setattr(telling, "_PATIENCE_S", 0.01)
    id = house.launch("cat", OpenStdin=True, HostConfig=journald())
    journal.close()
    with house.hijacked(f"/containers/{id}/attach?stream=1&stdin=1&stdout=1") as raw:
        raw.send(b"lost?\n")
        assert raw.frame() == (1, b"lost?\n")
    assert house.call("POST", f"/containers/{id}/kill").status == 204
    assert logs(house, id) == [(1, b"lost?\n")]
    journal.open()
    assert journal.next()["MESSAGE"] == b"lost?"


def test_without_a_journal_it_is_refused_and_not_offered(house: InProcess, journal: FakeJournal) -> None:
    assert house.call("GET", "/info").body["Plugins"]["Log"] == ["journald", "json-file", "local"]
    id = house.create("true", HostConfig=journald())
    journal.close()
    words = f"journald is not enabled on this host: nobody listens on {journal.path}"
    answer = house.call("POST", f"/containers/{id}/start")
    assert (answer.status, answer.message) == (500, f"failed to initialize logging driver: {words}")
    answer = house.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": journald()})
    assert (answer.status, answer.message) == (400, f"failed to initialize logging driver: {words}")
    assert house.call("GET", "/info").body["Plugins"]["Log"] == ["json-file", "local"]


def test_options_are_dockers(house: InProcess) -> None:
    for options, message in (
        ({"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
        ({"cache-disabled": "perhaps"}, "invalid value for option cache-disabled: perhaps"),
        ({"cache-max-size": "x"}, "invalid size: 'x'"),
    ):
        answer = house.call("POST", "/containers/create", {"Image": IMAGE, "HostConfig": journald(**options)})
        assert (answer.status, answer.message) == (400, message)
    id = house.create(
        HostConfig=journald(**{"cache-max-size": "1k", "cache-max-file": "2", "cache-disabled": "false"})
    )
    limits = house.daemon.containers.get(id).log.limits
    assert (limits.file_bytes, limits.files) == (1000, 2)
