"""Reading conmon's log: choice, tail, follow, renewal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sampan.runtime import logs
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.logs import LogQuery

SECOND = 1_000_000_000


def line(second: int, words: bytes, stream: str = "stdout", flag: str = "F") -> bytes:
    return f"1970-01-01T00:00:{second:02d}.000000000+00:00 {stream} {flag} ".encode() + words + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(
        line(1, b"one") + line(2, b"two", "stderr") + line(3, b"thr", flag="P") + line(3, b"ee") + line(4, b"four")
    )
    return path


async def read(path: Path, query: LogQuery) -> logs.Batch:
    return [entry async for batch in logs.read(path, query) for entry in batch]


async def test_everything_comes_in_order_with_its_stream(log: Path) -> None:
    assert await read(log, LogQuery()) == [
        (STDOUT, b"one\n"),
        (STDERR, b"two\n"),
        (STDOUT, b"thr"),
        (STDOUT, b"ee\n"),
        (STDOUT, b"four\n"),
    ]


async def test_one_stream_can_be_left_out(log: Path) -> None:
    assert await read(log, LogQuery(stdout=False)) == [(STDERR, b"two\n")]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, b""),
        (1, b"four\n"),
        (2, b"three\nfour\n"),
        (3, b"two\nthree\nfour\n"),
        (4, b"one\ntwo\nthree\nfour\n"),
        (99, b"one\ntwo\nthree\nfour\n"),
    ],
)
async def test_tail_counts_whole_lines(log: Path, count: int, words: bytes) -> None:
    assert b"".join(content for _, content in await read(log, LogQuery(tail=count))) == words


async def test_an_unfinished_line_at_the_end_is_a_line_for_tail(log: Path) -> None:
    with log.open("ab") as file:
        file.write(line(5, b"prompt> ", flag="P"))
    assert await read(log, LogQuery(tail=1)) == [(STDOUT, b"prompt> ")]


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
async def test_tail_is_right_wherever_blocks_end(log: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_CHUNK_BYTES", chunk)
    assert b"".join(c for _, c in await read(log, LogQuery(tail=2))) == b"three\nfour\n"
    assert b"".join(c for _, c in await read(log, LogQuery())) == b"one\ntwo\nthree\nfour\n"


async def test_since_and_until_include_their_ends(log: Path) -> None:
    entries = await read(log, LogQuery(since_ns=2 * SECOND, until_ns=3 * SECOND))
    assert b"".join(content for _, content in entries) == b"two\nthree\n"


async def test_timestamps_stand_before_lines_and_not_before_their_pieces(log: Path) -> None:
    entries = await read(log, LogQuery(timestamps=True, since_ns=3 * SECOND))
    assert b"".join(content for _, content in entries) == (
        b"1970-01-01T00:00:03.000000000Z three\n1970-01-01T00:00:04.000000000Z four\n"
    )


async def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(line(1, b"\xff\x00\x85\r"))
    assert await read(tmp_path / "log", LogQuery()) == [(STDOUT, b"\xff\x00\x85\r\n")]


async def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"1970-01-01T00\n" + line(1, b"one") + b"1970-01-01T00:00:02.0")
    assert await read(tmp_path / "log", LogQuery()) == [(STDOUT, b"one\n")]


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "log", LogQuery(tail=3)) == []


class Follower:
    """Reads in a task; `line` waits for the next one."""

    def __init__(self, path: Path, query: LogQuery | None = None) -> None:
        self.ended = asyncio.Event()
        self.got: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._read(path, query or LogQuery()))

    async def _read(self, path: Path, query: LogQuery) -> None:
        async for batch in logs.read(path, query, ended=self.ended.wait()):
            for entry in batch:
                self.got.put_nowait(entry)
        self.got.put_nowait(None)

    async def line(self) -> bytes | None:
        entry = await asyncio.wait_for(self.got.get(), 5)
        return entry and entry[1]


async def test_follow_sees_what_is_written_later_and_ends_with_the_container(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(1, b"one"))
    follower = Follower(path)
    assert await follower.line() == b"one\n"
    with path.open("ab") as file:
        file.write(line(2, b"two"))
    assert await follower.line() == b"two\n"
    with path.open("ab") as file:
        file.write(line(3, b"last"))
    follower.ended.set()
    assert await follower.line() == b"last\n"
    assert await follower.line() is None


async def test_follow_goes_on_over_a_renewal_and_loses_nothing(tmp_path: Path) -> None:
    path, new = tmp_path / "log", tmp_path / "log.tmp"
    path.write_bytes(line(1, b"one"))
    follower = Follower(path)
    assert await follower.line() == b"one\n"
    with path.open("ab") as file:
        file.write(line(2, b"end of the old one"))
    new.write_bytes(b"")
    new.replace(path)
    with path.open("ab") as file:
        file.write(line(3, b"new"))
    assert await follower.line() == b"end of the old one\n"
    assert await follower.line() == b"new\n"
    follower.ended.set()
    assert await follower.line() is None


async def test_follow_waits_for_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "log", LogQuery(tail=5))
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "log").write_bytes(line(1, b"one"))
    assert await follower.line() == b"one\n"
    follower.ended.set()
    assert await follower.line() is None


async def test_follow_stops_when_until_has_passed(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(line(1, b"one") + line(9, b"nine"))
    follower = Follower(tmp_path / "log", LogQuery(until_ns=5 * SECOND))
    assert await follower.line() == b"one\n"
    assert await follower.line() is None


async def test_a_cancelled_follower_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(line(1, b"one"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    follower = Follower(tmp_path / "log")
    assert await follower.line() == b"one\n"
    follower.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower.task
    assert len(list(Path("/proc/self/fd").iterdir())) == before
