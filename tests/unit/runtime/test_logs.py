"""Reading conmon's log: selection, tail, follow, across several files."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from sampan.runtime import log_tail, logs
from sampan.runtime.inotify import Inotify
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.log_files import LogFiles, LogLimits, LogReader
from sampan.runtime.log_lines import Batch, LogQuery

SECOND = 1_000_000_000


def line(second: int, words: bytes, stream: str = "stdout", flag: str = "F") -> bytes:
    return f"1970-01-01T00:00:{second:02d}.000000000+00:00 {stream} {flag} ".encode() + words + b"\n"


@pytest.fixture
def files(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path / "log", LogLimits(file_bytes=1000, files=2))


@pytest.fixture
def log(files: LogFiles) -> LogFiles:
    return written(
        files,
        line(1, b"one") + line(2, b"two", "stderr") + line(3, b"thr", flag="P") + line(3, b"ee") + line(4, b"four"),
    )


def written(files: LogFiles, content: bytes) -> LogFiles:
    """`files` after a freshly started writer wrote `content`."""
    files.begin()
    with files.path.open("ab") as file:
        file.write(content)
    return files


def renew(files: LogFiles) -> None:
    """Do what conmon does when told to reopen its log."""
    new = files.path.with_name("log.tmp")
    new.write_bytes(b"")
    new.replace(files.path)


async def read(files: LogFiles, query: LogQuery) -> Batch:
    return [entry async for batch in logs.read(files, query) for entry in batch]


async def words(files: LogFiles, query: LogQuery) -> bytes:
    return b"".join(content for _, content in await read(files, query))


async def test_everything_comes_in_order_with_its_stream(log: LogFiles) -> None:
    assert await read(log, LogQuery()) == [(STDOUT, b"one\n"), (STDERR, b"two\n"), (STDOUT, b"three\nfour\n")]


async def test_one_stream_can_be_left_out(log: LogFiles) -> None:
    assert await read(log, LogQuery(stdout=False)) == [(STDERR, b"two\n")]


@pytest.fixture
def rotated(log: LogFiles) -> LogFiles:
    """A log of three files; the line `six` begins in the second and ends in the third."""
    for content in (line(5, b"five") + line(6, b"si", flag="P"), line(6, b"x") + line(7, b"seven")):
        renew(log)
        assert log.number_current()
        with log.path.open("ab") as file:
            file.write(content)
    return log


TAILS = [b"", b"seven\n", b"six\n", b"five\n", b"four\n", b"three\n", b"two\n", b"one\n", b"", b""]


@pytest.mark.parametrize("count", range(len(TAILS)))
@pytest.mark.parametrize("block", [1, 7, 50, 64, 1 << 18])
async def test_tail_counts_whole_lines(
    rotated: LogFiles, count: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tail, "_BLOCK_BYTES", block)
    assert await words(rotated, LogQuery(tail=count)) == b"".join(reversed(TAILS[: count + 1]))


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
async def test_lines_are_whole_wherever_chunks_end(
    rotated: LogFiles, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_CHUNK_BYTES", chunk)
    assert await words(rotated, LogQuery()) == b"one\ntwo\nthree\nfour\nfive\nsix\nseven\n"


async def test_an_unfinished_line_at_the_end_is_a_line_for_tail(log: LogFiles) -> None:
    with log.path.open("ab") as file:
        file.write(line(5, b"prompt> ", flag="P"))
    assert await words(log, LogQuery(tail=1)) == b"prompt> "
    assert await words(log, LogQuery(tail=2)) == b"four\nprompt> "


async def test_since_and_until_include_their_ends(rotated: LogFiles) -> None:
    assert await words(rotated, LogQuery(since_ns=2 * SECOND, until_ns=3 * SECOND)) == b"two\nthree\n"
    assert await words(rotated, LogQuery(since_ns=4 * SECOND, until_ns=6 * SECOND)) == b"four\nfive\nsix\n"


async def test_since_passes_over_files_that_were_written_before(rotated: LogFiles) -> None:
    for number in rotated.numbers():
        os.utime(rotated.numbered(number), ns=(0, number * 10 * SECOND))
    assert log_tail.place_of_time(rotated, 25 * SECOND) == (3, 0)
    assert log_tail.place_of_time(rotated, 99 * SECOND) == (3, 0)
    assert log_tail.place_of_time(rotated, 0) == (1, 0)


async def test_timestamps_stand_before_lines_and_not_before_their_pieces(log: LogFiles) -> None:
    assert await words(log, LogQuery(timestamps=True, since_ns=3 * SECOND)) == (
        b"1970-01-01T00:00:03.000000000Z three\n1970-01-01T00:00:04.000000000Z four\n"
    )


async def test_details_stand_after_the_timestamp(log: LogFiles) -> None:
    assert await words(log, LogQuery(tail=2, details=b"a=b ")) == b"a=b three\na=b four\n"
    with_both = await words(log, LogQuery(tail=1, details=b"a=b ", timestamps=True))
    assert with_both == b"1970-01-01T00:00:04.000000000Z a=b four\n"


async def test_bytes_that_are_no_text_are_kept(files: LogFiles) -> None:
    assert await read(written(files, line(1, b"\xff\x00\x85\r")), LogQuery()) == [(STDOUT, b"\xff\x00\x85\r\n")]


async def test_a_torn_line_is_passed_over(files: LogFiles) -> None:
    log = written(files, b"1970-01-01T00\n" + line(1, b"one") + b"1970-01-01T00:00:02.0")
    assert await read(log, LogQuery()) == [(STDOUT, b"one\n")]


async def test_what_follows_a_torn_beginning_is_kept(files: LogFiles) -> None:
    log = written(files, line(1, b"one") + b"1970-01-01T00:00:02.0" + line(3, b"three", "stderr") + line(4, b"four"))
    assert await read(log, LogQuery()) == [(STDOUT, b"one\n"), (STDERR, b"three\n"), (STDOUT, b"four\n")]


async def test_what_follows_a_torn_line_is_whole(files: LogFiles) -> None:
    torn = line(1, b"one") + b"1970-01-01T00:00:02.0"
    written(files, torn)
    written(files, line(3, b"three") + torn[len(line(1, b"one")) :])
    renew(files)
    assert files.number_current()
    written(files, line(4, b"four"))
    assert await words(files, LogQuery()) == b"one\nthree\nfour\n"


async def test_a_line_of_a_megabyte_comes_whole(files: LogFiles) -> None:
    piece = b"x" * 8192
    log = written(files, line(1, piece, flag="P") * 128 + line(1, b"end"))
    assert await words(log, LogQuery(timestamps=True, tail=1)) == (
        b"1970-01-01T00:00:01.000000000Z " + piece * 128 + b"end\n"
    )


async def test_a_log_that_is_not_there_is_empty(files: LogFiles) -> None:
    assert await read(files, LogQuery(tail=3)) == []


class Follower:
    """Follows a log in a task; `line` waits for the next line."""

    def __init__(self, files: LogFiles, query: LogQuery | None = None) -> None:
        self.ended = asyncio.Event()
        self.got: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._read(files, query or LogQuery()))

    async def _read(self, files: LogFiles, query: LogQuery) -> None:
        async for batch in logs.follow(files, query, changes=Inotify(), ended=self.ended.wait()):
            for _, content in batch:
                for one in content.splitlines(keepends=True):
                    self.got.put_nowait(one)
        self.got.put_nowait(None)

    async def line(self) -> bytes | None:
        return await asyncio.wait_for(self.got.get(), 30)


def append(files: LogFiles, content: bytes) -> None:
    with files.path.open("ab") as file:
        file.write(content)


async def test_follow_sees_what_is_written_later_and_ends_with_the_container(files: LogFiles) -> None:
    follower = Follower(written(files, line(1, b"one")))
    assert await follower.line() == b"one\n"
    append(files, line(2, b"two"))
    assert await follower.line() == b"two\n"
    append(files, line(3, b"last"))
    follower.ended.set()
    assert await follower.line() == b"last\n"
    assert await follower.line() is None


async def test_follow_goes_on_over_a_renewal_and_loses_nothing(files: LogFiles) -> None:
    follower = Follower(written(files, line(1, b"one")))
    assert await follower.line() == b"one\n"
    append(files, line(2, b"end of the old one"))
    renew(files)
    append(files, line(3, b"new"))
    files.number_current()
    assert await follower.line() == b"end of the old one\n"
    assert await follower.line() == b"new\n"
    follower.ended.set()
    assert await follower.line() is None


async def test_a_follower_that_lags_behind_keeps_the_files_that_it_has_not_read(files: LogFiles) -> None:
    follower = Follower(written(files, line(1, b"first")))
    assert await follower.line() == b"first\n"
    for number in range(20):
        append(files, line(2, b"%04d" % number + b"." * 900))
        renew(files)
        files.number_current()
        files.prune()  # the follower has not run yet
    got = [await follower.line() for _ in range(20)]
    assert [int(one[:4]) for one in got if one] == list(range(20))
    follower.ended.set()
    assert await follower.line() is None
    assert len(files.numbers()) <= 4, "what nobody needs any more was removed"


async def test_follow_waits_for_a_log_that_is_not_there_yet(files: LogFiles, tmp_path: Path) -> None:
    follower = Follower(files, LogQuery(tail=5))
    (tmp_path / "other").write_bytes(b"")
    written(files, line(1, b"one"))
    assert await follower.line() == b"one\n"
    follower.ended.set()
    assert await follower.line() is None


async def test_follow_stops_when_until_has_passed(files: LogFiles) -> None:
    follower = Follower(written(files, line(1, b"one") + line(9, b"nine")), LogQuery(until_ns=5 * SECOND))
    assert await follower.line() == b"one\n"
    assert await follower.line() is None


async def test_a_cancelled_follower_leaves_no_descriptor(files: LogFiles) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    follower = Follower(written(files, line(1, b"one")))
    assert await follower.line() == b"one\n"
    follower.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower.task
    await asyncio.get_running_loop().shutdown_default_executor()  # a worker thread closes the watch
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not files.readers


async def test_a_reader_that_is_cancelled_while_it_reads_leaves_no_descriptor(
    log: LogFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow_read(reader: LogReader, most: int) -> bytes:
        began.set()
        go_on.wait()
        return undisturbed(reader, most)

    undisturbed = LogReader.read
    monkeypatch.setattr(LogReader, "read", slow_read)
    before = len(list(Path("/proc/self/fd").iterdir()))
    reading = asyncio.create_task(read(log, LogQuery()))
    await asyncio.to_thread(began.wait)
    reading.cancel()
    await asyncio.wait([reading], timeout=0.01)  # time for it to close the file under the thread, if it did
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
