"""One engine for all of tests/compat (`--engine sampand|dockerd`), driven by the docker and sampan clients."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.debian import find_mirror, make_root
from tests.support.engines import ENGINES, Engine, running
from tests.support.registry import Registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("root")


@pytest.fixture(scope="session")
def start_engine(
    request: pytest.FixtureRequest, session_dir: Path, leak_marks: list[str]
) -> Iterator[Callable[..., Engine]]:
    """`start_engine(*flags)` starts another instance of the engine under test, stopped when the session ends."""
    kind = ENGINES[request.config.getoption("--engine")]
    with ExitStack() as undo:

        def start(*flags: str) -> Engine:
            root = Path(tempfile.mkdtemp(prefix="e", dir=session_dir))
            engine = kind(root, flags)
            leak_marks.extend(engine.marks)
            return undo.enter_context(running(engine))

        yield start


@pytest.fixture(scope="session")
def shared_engine(start_engine: Callable[..., Engine], archives: Archives) -> Engine:
    """The session's engine, with the images busybox:test and layered:test."""
    engine = start_engine()
    docker = Client("docker", engine)
    docker("load", "--input", str(archives.busybox))
    docker("load", "--input", str(archives.layered))
    return engine


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """The session's engine; containers left by the test are removed after it."""
    yield shared_engine
    shared_engine.remove_containers()


@pytest.fixture(params=["docker", "sampan"])
def client(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Client]:
    with closing(Client(request.param, engine)) as client:
        yield client


@pytest.fixture
def docker(engine: Engine) -> Iterator[Client]:
    """The docker client, for test set-up and for tests of that client itself."""
    with closing(Client("docker", engine)) as client:
        yield client


@pytest.fixture(scope="session")
def registry(shared_engine: Engine, archives: Archives) -> Iterator[Registry]:
    """A registry on the engine's loopback that holds `layered:test`."""
    with (
        tempfile.TemporaryDirectory(dir=shared_engine.root) as root,
        closing(Registry(Path(root), prefix=shared_engine.prefix)) as registry,
    ):
        registry.push(archives.layered, "planks/layered:test")
        yield registry


@pytest.fixture
def oci_archive(archives: Archives, tmp_path: Path) -> Path:
    """The layered image as written by `skopeo copy … oci-archive:`."""
    path = tmp_path / "oci.tar"
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet"]
    subprocess.run([*copy, f"docker-archive:{archives.layered}", f"oci-archive:{path}:fromoci:test"], check=True)
    return path


@pytest.fixture(scope="session")
def debian_root(session_dir: Path) -> Path:
    """A tar archive of a Debian root file system with Python and Redis."""
    mirror = find_mirror()
    if not mirror.reachable():
        pytest.skip(f"no package mirror is reachable: {mirror.url}")
    archive = session_dir / "debian.tar"
    make_root(mirror, archive)
    return archive


@pytest.fixture(scope="module")
def debian(shared_engine: Engine, debian_root: Path) -> Iterator[str]:
    """An image of that Debian."""
    image = "debian:made-here"
    with closing(Client("docker", shared_engine)) as docker:
        docker("import", str(debian_root), image)
        yield image
        shared_engine.remove_containers()
        docker("rmi", image)
