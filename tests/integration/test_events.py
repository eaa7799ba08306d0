"""Events on the real daemon: none is lost to a slow reader or a daemon crash."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest

from tests.conftest import Archives, EngineFactory
from tests.support import containers
from tests.support.engines import Engine, UnixConnection

pytestmark = pytest.mark.root
HALF = 10_000
AT_ONCE = 4


def resize(engine: Engine, times: int) -> None:
    """Cause `times` events over one connection."""
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        for _ in range(times):
            connection.request("POST", "/containers/tty/resize?h=24&w=80")
            with connection.getresponse() as answer:
                assert answer.status == 200, answer.read()


def resize_until_it_dies(engine: Engine) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            resize(engine, 100)


@contextlib.contextmanager
def following(engine: Engine, after: int) -> Iterator[http.client.HTTPResponse]:
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request("GET", f"/events?since=seq:{after}")
        yield connection.getresponse()


def numbers(lines: Iterator[bytes]) -> Iterator[int]:
    """The numbers of complete events until the connection ends; none may be a `lost` marker."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            assert event["Action"] != "lost", event
            yield event["sampanSeq"]


def last_number(engine: Engine) -> int:
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request("GET", f"/events?since=seq:0&until={time.time():.9f}")
        return json.loads(connection.getresponse().read().splitlines()[-1])["sampanSeq"]  # type: ignore[no-any-return]


def test_a_slow_reader_misses_none_of_20000_events_though_the_daemon_is_killed(
    start_sampand: EngineFactory, archives: Archives
) -> None:
    engine = start_sampand()
    containers.send(engine, "/images/load", archives.busybox.read_bytes())
    containers.run(engine, "tty", Tty=True, OpenStdin=True)
    read: list[int] = []
    with ThreadPoolExecutor(AT_ONCE) as threads, following(engine, 0) as slow:
        list(threads.map(lambda _: resize(engine, HALF // AT_ONCE), range(AT_ONCE)))
        before = last_number(engine)
        flood = threading.Thread(target=resize_until_it_dies, args=(engine,))
        flood.start()
        read.extend(islice(numbers(slow), 100))  # it has only just begun to read
        engine.kill()
        flood.join()
        read.extend(numbers(slow))  # what is left in the socket
    engine.start()
    assert before >= HALF
    with ThreadPoolExecutor(AT_ONCE) as threads, following(engine, read[-1]) as slow:
        list(threads.map(lambda _: resize(engine, HALF // AT_ONCE), range(AT_ONCE)))
        end = last_number(engine)
        assert end - before >= HALF
        for number in numbers(slow):
            read.append(number)
            if number == end:
                break
    assert read == list(range(1, end + 1))
