"""push, to open registries and to one that requires authentication."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import Archives
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


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "DOCKER_CONFIG", str(tmp_path))


def test_a_pulled_image_is_pushed_with_the_digest_it_had(client: Client, registry: Registry) -> None:
    source, target = f"{registry.host}/planks/layered:test", f"{registry.host}/pushed/{client.name}:1"
    client("pull", source)
    digest = json.loads(client("image", "inspect", source))[0]["RepoDigests"][0].partition("@")[2]
    client("tag", source, target)
    shown = client("push", target)
    assert f"The push refers to repository [{registry.host}/pushed/{client.name}]" in shown
    assert shown.count("Mounted from planks/layered") + shown.count("Layer already exists") == 4
    assert f"1: digest: {digest} size:" in shown
    assert "Layer already exists" in client("push", target)
    client("rmi", source, target)
    client("pull", f"{target.rpartition(':')[0]}@{digest}")
    client("rmi", f"{target.rpartition(':')[0]}@{digest}")


def test_a_loaded_image_is_pushed_where_one_must_log_in(
    client: Client, closed_registry: Registry, archives: Archives
) -> None:
    client("load", "--input", str(archives.layered))
    target = f"{closed_registry.host}/deep/er/{client.name}:1"
    client("tag", "layered:test", target)
    refused = client.run("push", target)
    assert refused.returncode == 1
    assert "authentication required" in refused.stderr or "no basic auth credentials" in refused.stderr
    done = client.run("login", "--username", USER, "--password-stdin", closed_registry.host, stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert client("push", target).count("Pushed") == 4
    client("rmi", target)
    client("pull", target)
    assert client("run", "--rm", target, "cat", "hidden/above") == "above"
    client("rmi", target)
    client("logout", closed_registry.host)
    assert client.run("pull", target).returncode == 1


def test_push_of_what_is_not_here_says_so(client: Client, registry: Registry) -> None:
    done = client.run("push", f"{registry.host}/nothing:1")
    assert done.returncode == 1
    assert f"An image does not exist locally with the tag: {registry.host}/nothing" in done.stderr
