"""save and history, as read by other engines and tools."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Dockerd, running
from tests.support.registry import Registry


@pytest.fixture
def pulled(client: Client, registry: Registry) -> Iterator[str]:
    reference = f"{registry.host}/planks/layered:test"
    client("pull", reference)
    client("tag", reference, "saved:1")
    yield "saved:1"
    client("rmi", reference)
    client.run("rmi", "saved:1")


@pytest.fixture
def saved(client: Client, pulled: str, tmp_path: Path) -> Path:
    client("save", "--output", str(tmp_path / "saved.tar"), pulled, "busybox:test")
    return tmp_path / "saved.tar"


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dockerd_loads_what_was_saved(saved: Path, session_dir: Path, archives: Archives) -> None:
    with running(Dockerd(session_dir / "loader", ["--bridge", "none", "--iptables=false"])) as loader:
        other = Client("docker", loader)
        shown = other("load", "--input", str(saved))
        assert "Loaded image: saved:1" in shown
        assert "Loaded image: busybox:test" in shown
        assert json.loads(other("image", "inspect", "saved:1"))[0]["Id"] == archives.layered_id
        assert other("run", "--rm", "--network", "none", "saved:1", "cat", "hidden/above") == "above"


def test_skopeo_reads_both_formats(saved: Path, archives: Archives, tmp_path: Path) -> None:
    for number, source in enumerate((f"docker-archive:{saved}:saved:1", f"oci-archive:{saved}:1")):
        target = f"dir:{tmp_path / str(number)}"
        skopeo("copy", "--quiet", source, target)
        manifest = json.loads(skopeo("inspect", "--raw", target))
        assert manifest["config"]["digest"] == archives.layered_id


def test_a_saved_image_is_loaded_again(client: Client, saved: Path) -> None:
    client("rmi", "saved:1")
    shown = client("load", "--input", str(saved))
    assert "Loaded image: saved:1" in shown
    assert client("run", "--rm", "saved:1", "cat", "hidden/above") == "above"


def test_save_to_standard_output_is_the_same(client: Client, pulled: str, tmp_path: Path) -> None:
    client("save", "--output", str(tmp_path / "whole.tar"), pulled)
    written = subprocess.run(client.command("save", pulled), capture_output=True, check=True)
    assert written.stdout == (tmp_path / "whole.tar").read_bytes()


def test_save_of_what_is_not_here_says_so_and_writes_nothing(client: Client, tmp_path: Path) -> None:
    done = client.run("save", "--output", str(tmp_path / "none.tar"), "nothing:1")
    assert done.returncode == 1
    assert "No such image: nothing:1" in done.stderr
    assert not (tmp_path / "none.tar").exists()


def test_history_tells_the_steps(client: Client, pulled: str, archives: Archives) -> None:
    shown = client("history", "--no-trunc", "--format", "{{.ID}} {{.Size}} {{.CreatedBy}}", pulled).splitlines()
    assert len(shown) == 4
    assert shown[0].startswith(f"{archives.layered_id} ")
    assert all(line.startswith("<missing> ") for line in shown[1:])


def test_search_where_there_is_none_says_so(client: Client, registry: Registry) -> None:
    done = client.run("search", f"{registry.host}/anything")
    assert done.returncode == 1
    assert f"registry {registry.host} has no search (it answers with status 404)" in done.stderr


@pytest.fixture
def podman(session_dir: Path) -> Iterator[list[str]]:
    """Podman with its own store, whose path must be short."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    with tempfile.TemporaryDirectory(dir=session_dir) as root:
        yield ["podman", "--root", f"{root}/g", "--runroot", f"{root}/r", "--storage-driver", "vfs"]


def test_podman_loads_what_was_saved(saved: Path, archives: Archives, podman: list[str]) -> None:
    loaded = subprocess.run([*podman, "load", "--input", str(saved)], capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    inspect = [*podman, "image", "inspect", "saved:1"]
    shown = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    assert f"sha256:{json.loads(shown)[0]['Id']}" == archives.layered_id
