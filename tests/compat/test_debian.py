"""A whole distribution in a container: Debian by debootstrap, with apt and Python."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.debian import find_mirror, make_root
from tests.support.engines import Engine

pytestmark = pytest.mark.timeout(900)  # a slow mirror

IMAGE = "debian:made-here"
SCRIPT = "import os, sys; print(sys.version_info >= (3, 9), os.getpid(), len(os.listdir('/etc')) > 50)"


@pytest.fixture(scope="session")
def debian_root(session_dir: Path) -> Path:
    mirror = find_mirror()
    if not mirror.reachable():
        pytest.skip(f"no package mirror is reachable: {mirror.url}")
    archive = session_dir / "debian.tar"
    make_root(mirror, archive)
    return archive


@pytest.fixture(scope="module")
def debian(shared_engine: Engine, debian_root: Path) -> Iterator[str]:
    docker = Client("docker", shared_engine)
    docker("import", str(debian_root), IMAGE)
    yield IMAGE
    shared_engine.remove_containers()
    docker("rmi", IMAGE)


def test_apt_says_its_version(client: Client, debian: str) -> None:
    assert client("run", "--rm", debian, "apt-get", "--version").startswith("apt ")


def test_python_runs(client: Client, debian: str) -> None:
    assert client("run", "--rm", debian, "python3", "-c", SCRIPT) == "True 1 True"


def test_dpkg_removes_a_package_of_the_image(client: Client, debian: str) -> None:
    """Names, owners and removals over a lower layer, as a package manager makes them."""
    words = ("dpkg", "--purge", "--force-depends", "python3-minimal")
    assert "Removing python3-minimal" in client("run", "--rm", debian, *words)
    assert client("run", "--rm", debian, "test", "-e", "/usr/bin/python3") == ""
