"""The cost to a daemon of many clients watching the stats of containers."""

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path

from bench.subjects import Subject

CONTAINERS = 100
SECONDS = 10
_AT_ONCE = 65536


class StatsStreams:
    """`GET /containers/{id}/stats` of many containers, each read by a separate client."""

    title = f"the daemon's CPU time in a second of {CONTAINERS} `stats` streams"

    def __init__(self, image: str) -> None:
        self._image = image
        self._names = [f"watched{number}" for number in range(CONTAINERS)]

    @contextmanager
    def around(self, subject: Subject) -> Iterator[None]:
        for name in self._names:
            subject.do(
                *subject.run_words("--detach", "--name", name, "--network", "none", self._image, "sleep", "9999")
            )
        try:
            yield
        finally:
            subject.do("rm", "--force", *self._names)

    def sample(self, subject: Subject) -> float | None:
        """CPU seconds per second, measured over several readings with all streams already open."""
        pid = subject.daemon_pid()
        if pid is None:
            return None
        with ExitStack() as undo:
            streams = [undo.enter_context(closing(_opened(subject, name))) for name in self._names]
            _read_turns(streams, 2)
            before = cpu_seconds(pid)
            _read_turns(streams, SECONDS)
            return (cpu_seconds(pid) - before) / SECONDS


def cpu_seconds(pid: int) -> float:
    """The user and system time of a process since its start (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _opened(subject: Subject, name: str) -> HTTPResponse:
    connection = subject.connect()
    assert connection is not None
    connection.request("GET", f"/containers/{name}/stats?stream=1")
    return connection.getresponse()


def _read_turns(streams: list[HTTPResponse], turns: int) -> None:
    """Read all streams until the first one has delivered `turns` readings."""
    heads = {stream.fileno(): stream for stream in streams}
    while turns:
        for fd in select.select(list(heads), [], [])[0]:
            piece = os.read(fd, _AT_ONCE)
            assert piece, "a stream ended"
            turns -= fd == streams[0].fileno() and piece.endswith(b"\n\r\n")
