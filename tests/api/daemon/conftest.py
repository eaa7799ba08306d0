from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import pytest

from sampan.testing.memory_storage import MemoryStorage
from tests.api.daemon.in_process import InProcess

MakeHouse = Callable[..., InProcess]


def _make_house(session_dir: Path, undo: ExitStack) -> MakeHouse:
    def make(storage: type[MemoryStorage] = MemoryStorage, **settings: Any) -> InProcess:
        root = Path(undo.enter_context(TemporaryDirectory(dir=session_dir)))
        house = InProcess(root, storage)
        undo.callback(house.close)
        house.start(**settings)
        return house

    return make


@pytest.fixture
def make_house(session_dir: Path) -> Iterator[MakeHouse]:
    """`make_house(storage, **settings)`: a private daemon."""
    with ExitStack() as undo:
        yield _make_house(session_dir, undo)


@pytest.fixture(scope="module")
def make_shared_house(session_dir: Path) -> Iterator[MakeHouse]:
    """Like `make_house`, for tests that leave nothing behind and can share a daemon."""
    with ExitStack() as undo:
        yield _make_house(session_dir, undo)


@pytest.fixture
def house(make_house: MakeHouse) -> InProcess:
    """A daemon without containers."""
    return make_house()


@pytest.fixture
def client(house: InProcess) -> Iterator[docker.DockerClient]:
    """docker-py against `house`."""
    library = docker.DockerClient(base_url=house.url, version="auto")
    yield library
    library.close()
