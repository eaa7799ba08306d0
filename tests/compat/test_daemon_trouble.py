"""Faults around sampand: a full or read-only disk, broken plugins, a registry that serves corrupt content."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import Engine, Sampand, running
from tests.support.images import Entry, docker_archive, layer
from tests.support.processes import StartFailed
from tests.support.registry import Registry

IMAGE = "busybox:test"
BROKEN_PLUGIN = "raise RuntimeError('this plank is rotten')\n"
UNFIT_PLUGIN = """
from sampan.drivers import hookimpl

class Adrift:
    def __init__(self, state_dir): pass
    def probe(self): return "there is no water here"

@hookimpl
def sampan_volume_driver(): return "adrift", Adrift
"""


@pytest.fixture(autouse=True)
def only_sampand(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--engine") != "sampand":
        pytest.skip("about sampand's own parts")


@pytest.fixture
def root(session_dir: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="t", dir=session_dir))


@contextmanager
def tmpfs(directory: Path, options: str) -> Iterator[None]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "sampan-test", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def refusal(engine: Engine) -> str:
    """The last log lines of a daemon that must fail to start."""
    with pytest.raises(StartFailed) as raised:
        engine.start()
    return str(raised.value)


def used(directory: Path) -> int:
    """Bytes in use on the file system of `directory`."""
    shown = subprocess.run(["df", "--output=used", "-B1", str(directory)], check=True, capture_output=True, text=True)
    return int(shown.stdout.split()[-1])


def await_room(directory: Path, most_bytes: int) -> None:
    """Wait until at most this much is in use: a container's data is deleted in the background."""
    assert eventually(lambda: used(directory) <= most_bytes, 20), f"{used(directory)} bytes in use"


def test_a_container_that_fills_the_disk_can_be_removed(
    root: Path, archives: Archives, leak_marks: list[str]
) -> None:
    engine = Sampand(root)
    leak_marks.extend(engine.marks)
    with tmpfs(engine.data_root, "size=32m"), running(engine):
        docker = Client("docker", engine)
        docker("load", "--input", str(archives.busybox))
        before = used(engine.data_root)
        done = docker.run("run", "--name", "filler", IMAGE, "sh", "-c", "cat /dev/zero >/zeros")
        assert (done.returncode, "No space left on device" in done.stderr) == (1, True)
        docker("rm", "filler")
        await_room(engine.data_root, before + (1 << 20))
        assert docker("run", "--rm", IMAGE, "echo", "afloat") == "afloat"


def test_a_read_only_data_root_is_named(root: Path) -> None:
    engine = Sampand(root)
    with tmpfs(engine.data_root, "ro,size=1m"):
        assert str(engine.data_root) in (told := refusal(engine))
    assert "Read-only file system" in told or "read-only file system" in told
    assert "Traceback" not in told


@pytest.fixture
def plugins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two distributions on the daemon's path: one can't be imported, the other's driver can't work on this host."""
    for name, source in (("rotten", BROKEN_PLUGIN), ("adrift", UNFIT_PLUGIN)):
        about = root / "site" / f"sampan_{name}-0.0.1.dist-info"
        about.mkdir(parents=True)
        (root / "site" / f"sampan_{name}.py").write_text(source)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sampan-{name}\nVersion: 0.0.1\n")
        (about / "entry_points.txt").write_text(f"[sampan]\n{name} = sampan_{name}\n")
    monkeypatch.setenv("PYTHONPATH", str(root / "site"))


def test_plugins_that_do_not_work_are_told_of_and_left_out(
    root: Path, plugins: None, archives: Archives, leak_marks: list[str]
) -> None:
    engine = Sampand(root)
    leak_marks.extend(engine.marks)
    with running(engine):
        sampan = Client("sampan", engine)
        sampan("load", "--input", str(archives.busybox))
        assert sampan("run", "--rm", IMAGE, "echo", "hi") == "hi"
        listed = sampan("drivers", "--format", "{{.Kind}} {{.Package}}: {{.Error}}").splitlines()
        assert "plugin sampan-rotten: RuntimeError: this plank is rotten" in listed
        assert "volume sampan-adrift: there is no water here" in listed
        assert "this plank is rotten" in engine.log_tail()
        assert "volume driver adrift is left out: there is no water here" in engine.log_tail()


@pytest.fixture
def lying_registry(root: Path) -> Iterator[str]:
    """The reference of an image with a layer whose content doesn't match its digest."""
    layers = [layer([Entry("of-this-test", os.urandom(1 << 20))])]
    docker_archive(root / "honest.tar", "honest:test", layers)
    with closing(Registry(root)) as registry:
        reference = registry.push(root / "honest.tar", "planks/lie:1")
        blobs = (root / "blobs/docker/registry/v2/blobs").rglob("data")
        largest = max(blobs, key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
        yield reference


def test_a_registry_that_lies_about_a_layer_is_found_out(client: Client, engine: Engine, lying_registry: str) -> None:
    before = client("images", "-a", "--quiet", "--no-trunc")
    done = client.run("pull", lying_registry)
    assert done.returncode == 1
    assert "filesystem layer verification failed for digest sha256:" in done.stderr
    assert client("images", "-a", "--quiet", "--no-trunc") == before
