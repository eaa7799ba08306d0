"""A full distribution in a container: Debian, with apt and Python, built with debootstrap."""

import pytest

from tests.support.clients import Client

pytestmark = pytest.mark.timeout(900)  # for slow mirrors

SCRIPT = "import os, sys; print(sys.version_info >= (3, 9), os.getpid(), len(os.listdir('/etc')) > 50)"


def test_apt_says_its_version(client: Client, debian: str) -> None:
    assert client("run", "--rm", debian, "apt-get", "--version").startswith("apt ")


def test_python_runs(client: Client, debian: str) -> None:
    assert client("run", "--rm", debian, "python3", "-c", SCRIPT) == "True 1 True"


def test_dpkg_removes_a_package_of_the_image(client: Client, debian: str) -> None:
    """Renames, ownership changes and removals over a lower layer, as a package manager makes them."""
    words = ("dpkg", "--purge", "--force-depends", "python3-minimal")
    assert "Removing python3-minimal" in client("run", "--rm", debian, *words)
    assert client("run", "--rm", debian, "test", "-e", "/usr/bin/python3") == ""
