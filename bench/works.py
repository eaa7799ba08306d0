"""The works: each returns one sample of one engine, or `None` if the engine has no such feature."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from bench.filesystem import fresh_ext4
from bench.limit import most_bytes, physical_limit_s
from bench.output import AttachedOutput, LongLog
from bench.streams import StatsStreams
from bench.subjects import Subject

IMAGE = "localhost/busybox:bench"
LISTED = 100
RUNNING = 10
REQUESTS = 100
IDLE_S = 15


def prepared(subject: Subject) -> AbstractContextManager[None]:
    """Nothing to prepare."""
    return nullcontext()


@dataclass(frozen=True)
class Budget:
    """The budget of sampan for a work.

    At most `ratio` relative to Docker, or with `of` relative to its own result for that work; at most `limit` in the
    work's unit.
    """

    ratio: float | None = None
    limit: float | None = None
    of: str | None = None


HALF, THIRD = Budget(ratio=0.5), Budget(ratio=0.33)


def at_most(limit: float) -> Budget:
    return Budget(limit=limit)


@dataclass(frozen=True)
class Work:
    """`around` prepares an engine for the samples and cleans up; `slow` works get fewer rounds."""

    name: str
    title: str
    sample: Callable[[Subject], float | None]
    around: Callable[[Subject], AbstractContextManager[None]] = prepared
    unit: str = "s"
    slow: bool = False
    budget: Budget = Budget()


def seconds(command: list[str]) -> float:
    """The duration of a command, which must succeed."""
    began = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return took


def request_seconds(subject: Subject, path: str, times: int) -> float | None:
    """The median time of a GET on a persistent connection."""
    connection = subject.connect()
    if connection is None:
        return None
    samples = []
    with closing(connection):
        for _ in range(times):
            began = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            samples.append(time.perf_counter() - began)
    return sorted(samples)[len(samples) // 2]


def run_on_bridge(subject: Subject) -> float:
    return seconds(subject.client(*subject.run_words("--rm", IMAGE, "true")))


def run_without_network(subject: Subject) -> float:
    return seconds(subject.client(*subject.run_words("--rm", "--network", "none", IMAGE, "true")))


def exec_true(subject: Subject) -> float:
    return seconds(subject.client("exec", "box", "true"))


def ping(subject: Subject) -> float | None:
    return request_seconds(subject, "/_ping", REQUESTS)


def list_by_api(subject: Subject) -> float | None:
    return request_seconds(subject, "/containers/json?all=1", REQUESTS)


def list_by_client(subject: Subject) -> float:
    return seconds(subject.client("ps", "--all"))


def cold_start(subject: Subject) -> float:
    return seconds(subject.cold_start())


def idle_memory(subject: Subject) -> float | None:
    return subject.memory().bytes / 1e6 if subject.daemon_pid() else None


def memory_per_container(subject: Subject) -> float:
    """The memory added by each of `RUNNING` containers: monitors, and state in the daemon."""
    before = subject.memory().bytes
    with running_containers(subject):
        return (subject.memory().bytes - before) / RUNNING / 1e6


@contextmanager
def left_alone(subject: Subject) -> Iterator[None]:
    """Wait until the engine has been idle for a while, and has returned memory used by earlier works."""
    time.sleep(IDLE_S)
    yield


@contextmanager
def one_running_container(subject: Subject) -> Iterator[None]:
    subject.do(*subject.run_words("--detach", "--name", "box", IMAGE, "sleep", "3600"))
    try:
        yield
    finally:
        subject.do("rm", "--force", "box")


@contextmanager
def running_containers(subject: Subject) -> Iterator[None]:
    names = [f"running{number}" for number in range(RUNNING)]
    for name in names:
        subject.do(*subject.run_words("--detach", "--name", name, "--network", "none", IMAGE, "sleep", "3600"))
    try:
        yield
    finally:
        subject.do("rm", "--force", *names)


@contextmanager
def listed_containers(subject: Subject) -> Iterator[None]:
    names = [f"listed{number}" for number in range(LISTED)]
    for name in names:
        subject.do("create", *subject.run_flags, "--name", name, IMAGE, "true")
    try:
        yield
    finally:
        subject.do("rm", "--force", *names)


_ATTACHED, _LONG_LOG, _STREAMS = AttachedOutput(IMAGE), LongLog(IMAGE), StatsStreams(IMAGE)

WORKS = (
    Work("run_bridge", "`run --rm` true, bridge", run_on_bridge, budget=THIRD),
    Work("run_none", "`run --rm` true, no network", run_without_network, budget=THIRD),
    Work("exec", "`exec` true", exec_true, one_running_container, budget=HALF),
    Work("ping", "GET /_ping", ping, budget=at_most(0.002)),
    Work(
        "list_api",
        f"GET /containers/json, {LISTED} containers",
        list_by_api,
        listed_containers,
        budget=HALF,
    ),
    Work("list_client", f"`ps -a`, {LISTED} containers", list_by_client, listed_containers),
    Work("output", _ATTACHED.title, _ATTACHED.sample, _ATTACHED.around, slow=True, budget=Budget(ratio=0.15)),
    Work("logs", _LONG_LOG.title, _LONG_LOG.sample, _LONG_LOG.around, budget=Budget(ratio=0.25)),
    Work("stats", _STREAMS.title, _STREAMS.sample, _STREAMS.around, slow=True, budget=at_most(0.05)),
    Work("cold_start", "the engine's own client: `version`", cold_start, budget=at_most(0.08)),
    Work(
        "idle_memory", "memory of the idle daemon", idle_memory, left_alone, unit="MB", slow=True, budget=at_most(80)
    ),
    Work(
        "container_memory",
        "memory per running container",
        memory_per_container,
        unit="MB",
        slow=True,
        budget=at_most(3),
    ),
)


QUARTER, TENTHS = Budget(ratio=0.25), Budget(ratio=0.3)


class ImageWorks:
    """Works with one large image: pull it from a registry, load it from an archive, save it to one.

    Each sample uses an empty engine on an empty file system.
    """

    def __init__(self, reference: str, archive: Path, size: str, directory: Path, blobs: Sequence[Path]) -> None:
        self._reference = reference
        self._blobs = blobs
        self._pushed = count()
        self._archive = archive
        self._size = size
        self._directory = directory

    def works(self) -> list[Work]:
        return [
            Work("pull", f"`pull` of {self._size}", self._pull, slow=True, budget=QUARTER),
            Work(
                "pull_limit",
                "the same by the bare machine: decompress, hash and write",
                self._limit,
                slow=True,
            ),
            Work(
                "pull_memory",
                "the most memory during that pull",
                self._pull_memory,
                unit="MB",
                slow=True,
                budget=at_most(250),
            ),
            Work("push", "`push` of one changed layer of it", self._push, slow=True, budget=HALF),
            Work("load", f"`load` of {self._size}", self._load, slow=True, budget=QUARTER),
            Work("save", f"`save` of {self._size}", self._save, slow=True, budget=TENTHS),
        ]

    def _pull(self, subject: Subject) -> float:
        with self._fresh(subject) as fresh:
            return seconds(fresh.client(*fresh.pull_words(self._reference)))

    def _limit(self, subject: Subject) -> float | None:
        """Attributed to sampand, as it is independent of the engine."""
        if subject.name != "sampand":
            return None
        with fresh_ext4(self._directory) as place:
            return physical_limit_s(self._blobs, place)

    def _pull_memory(self, subject: Subject) -> float | None:
        """The memory of the daemon and its workers; an engine without a daemon pulls in its client."""
        with self._fresh(subject) as fresh:
            if fresh.daemon_pid() is None:
                return None
            return most_bytes(fresh, fresh.client(*fresh.pull_words(self._reference))) / 1e6

    def _push(self, subject: Subject) -> float:
        """Push a new layer of 20 MB, on top of those that the registry already has."""
        with self._fresh(subject) as fresh:
            fresh.do(*fresh.pull_words(self._reference))
            fresh.do("create", "--name", "changed", self._reference, "true")
            (changed := fresh.root / "changed").write_bytes(os.urandom(20_000_000))
            fresh.do("cp", str(changed), "changed:/changed")
            tag = f"{self._reference.rpartition(':')[0]}:{subject.name}-{next(self._pushed)}"
            fresh.do("commit", "changed", tag)
            return seconds(fresh.client(*fresh.push_words(tag)))

    def _load(self, subject: Subject) -> float:
        with self._fresh(subject) as fresh:
            return seconds(fresh.client("load", "--quiet", "--input", str(self._archive)))

    def _save(self, subject: Subject) -> float:
        with self._fresh(subject) as fresh:
            fresh.do(*fresh.pull_words(self._reference))
            return seconds(fresh.client("save", "--output", str(fresh.root / "saved.tar"), self._reference))

    @contextmanager
    def _fresh(self, subject: Subject) -> Iterator[Subject]:
        with fresh_ext4(self._directory) as place:
            fresh = subject.fresh(place)
            fresh.start()
            try:
                yield fresh
            finally:
                fresh.stop()
