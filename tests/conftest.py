"""Shared by all tests: the engine under test, archives of test images, and the check that nothing is left behind."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from sampan.testing.host import LeakCheck
from tests.support import images
from tests.support.clients import Client
from tests.support.engines import ENGINES, Engine, Sampand, running

SESSION_MARK = f"sp{os.getpid()}-"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", choices=sorted(ENGINES), default="sampand", help="the daemon that tests/compat drives"
    )
    parser.addoption("--fuzz-cases", type=int, default=0, help="random requests that schemathesis makes, at least")
    parser.addoption("--fuzz-seconds", type=float, default=0, help="how long each test of images' fuzzing goes on")
    parser.addoption("--stress", type=int, default=200, help="containers that live in test_daemon_stress.py")
    parser.addoption("--large", action="store_true", help="as large as people have it: 70,000 files, 500 lives")
    parser.addoption("--within", type=float, default=math.inf, help="seconds after which no test of tests/vm begins")


@pytest.fixture(scope="session", autouse=True)
def leak_marks() -> Iterator[list[str]]:
    """Fail the session if a mount, namespace, interface, cgroup, nftables element or process outlives its tests.

    On a dedicated machine (CI) everything of sampan's counts; elsewhere only what carries a mark of this session: the
    name of its directory, or the instance of a daemon it started (added to the list).
    """
    if os.geteuid() != 0:
        yield []
        return
    marks = ["sampan", "conmon", SESSION_MARK] if os.environ.get("CI") else [SESSION_MARK]
    check = LeakCheck(marks)
    yield check.marks
    check.assert_clean(deadline_s=30)


@pytest.fixture(scope="session")
def session_dir() -> Iterator[Path]:
    """A directory with a short path: a unix socket's path is limited to 107 bytes, and pytest's own is too long."""
    directory = Path(tempfile.mkdtemp(prefix=SESSION_MARK))
    yield directory
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Archives:
    """Docker-archives on disk and the IDs of the images in them."""

    busybox: Path
    busybox_id: str
    layered: Path
    layered_id: str


@pytest.fixture(scope="session")
def archives(session_dir: Path) -> Archives:
    busybox, layered = session_dir / "busybox.tar", session_dir / "layered.tar"
    return Archives(busybox, images.busybox_archive(busybox), layered, images.layered_archive(layered))


LoadedEngine = Callable[..., AbstractContextManager[Engine]]
LoadedSampand = Callable[..., AbstractContextManager[Sampand]]


@pytest.fixture(scope="session")
def loaded_engine(session_dir: Path, leak_marks: list[str], archives: Archives) -> LoadedEngine:
    """`loaded_engine(kind, *flags)`: an engine with the image busybox:test, removed with all it holds at exit."""

    @contextmanager
    def load(kind: Callable[..., Engine], *flags: str) -> Iterator[Engine]:
        engine = kind(Path(tempfile.mkdtemp(prefix="l", dir=session_dir)), flags)
        leak_marks.extend(engine.marks)
        with running(engine):
            Client("docker", engine)("load", "-q", "-i", str(archives.busybox))
            yield engine

    return load


@pytest.fixture(scope="session")
def loaded_sampand(loaded_engine: LoadedEngine) -> LoadedSampand:
    """`loaded_sampand(*flags)`: like `loaded_engine`, with a sampand."""
    return partial(loaded_engine, Sampand)  # type: ignore[return-value]


EngineFactory = Callable[..., Engine]


@pytest.fixture
def start_sampand(session_dir: Path, leak_marks: list[str]) -> Iterator[EngineFactory]:
    """`start_sampand(*flags)`: a private sampand, removed with all it holds when the test ends."""
    with ExitStack() as undo:

        def start(*flags: str) -> Engine:
            root = Path(tempfile.mkdtemp(prefix="d", dir=session_dir))
            engine = Sampand(root, flags)
            leak_marks.extend(engine.marks)
            return undo.enter_context(running(engine))

        yield start
