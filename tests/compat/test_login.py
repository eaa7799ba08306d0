"""docker login against a real registry that admits a single user."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import docker as docker_py
import pytest
from docker.errors import APIError

from tests.support.clients import Client
from tests.support.engines import Engine
from tests.support.registry import PASSWORD, USER, Registry


@pytest.fixture(scope="module")
def closed_registry(shared_engine: Engine) -> Iterator[Registry]:
    with (
        TemporaryDirectory(dir=shared_engine.root) as root,
        closing(Registry(Path(root), prefix=shared_engine.prefix, closed=True)) as registry,
    ):
        yield registry


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the client stores credentials."""
    monkeypatch.setitem(os.environ, "DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def login(docker: Client, registry: Registry, password: str) -> tuple[int, str, str]:
    done = docker.run("login", "--username", USER, "--password-stdin", registry.host, stdin=password)
    return done.returncode, done.stdout, done.stderr


def test_login_with_the_right_password_succeeds(docker: Client, closed_registry: Registry, config: Path) -> None:
    status, stdout, stderr = login(docker, closed_registry, PASSWORD)
    assert status == 0, stderr
    assert "Login Succeeded" in stdout
    assert closed_registry.host in config.read_text()


def test_login_with_a_wrong_password_fails_with_the_registrys_words(
    docker: Client, closed_registry: Registry, config: Path
) -> None:
    status, _, stderr = login(docker, closed_registry, "rotten")
    assert status == 1
    assert f"login attempt to http://{closed_registry.host}/v2/ failed with status: 401 Unauthorized" in stderr
    assert not config.exists()


def test_login_to_where_no_registry_is_fails(docker: Client, config: Path) -> None:
    done = docker.run("login", "--username", USER, "--password-stdin", "127.0.0.1:1", stdin=PASSWORD)
    assert done.returncode == 1
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in done.stderr


def test_docker_py_logs_in(engine: Engine, closed_registry: Registry) -> None:
    with closing(docker_py.DockerClient(base_url=engine.host, version="auto")) as library:
        assert library.login(USER, PASSWORD, registry=closed_registry.host)["Status"] == "Login Succeeded"
        with pytest.raises(APIError, match="401 Unauthorized"):
            library.login(USER, "rotten", registry=closed_registry.host, reauth=True)
