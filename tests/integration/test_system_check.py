"""`sampan system check` on a real data root, deliberately damaged."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Engine, Sampand, running

pytestmark = pytest.mark.root
BUSYBOX = "busybox:test"


@pytest.fixture(scope="module", params=["overlayfs", "copy"])
def engine(
    request: pytest.FixtureRequest, session_dir: Path, leak_marks: list[str], archives: Archives
) -> Iterator[Engine]:
    engine = Sampand(Path(mkdtemp(prefix="k", dir=session_dir)), ("--storage-driver", request.param))
    leak_marks.extend(engine.marks)
    with running(engine):
        yield engine


@pytest.fixture
def sampan(engine: Engine, archives: Archives) -> Iterator[Client]:
    client = Client("sampan", engine)
    client("load", "-q", "-i", str(archives.busybox))
    yield client
    engine.remove_containers()
    client.run("rmi", "-f", BUSYBOX)
    assert client.run("system", "check").stdout.startswith("No problems in 0 images")


def checked(client: Client, *flags: str) -> tuple[int, str]:
    done = client.run("system", "check", *flags, "--format", "{{.Kind}} {{.Repaired}}")
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def driver_dir(engine: Engine) -> Path:
    [path] = (path for path in (engine.data_root / "drivers").iterdir() if path.name in ("overlayfs", "copy"))
    return path


def files_of(engine: Engine, name: str) -> Path:
    """The directory of a snapshot, by its name in the driver's metadata."""
    with closing(sqlite3.connect(driver_dir(engine) / "metadata.db")) as database:
        [number] = database.execute("SELECT number FROM snapshots WHERE name = ?", (name,)).fetchone()
    return driver_dir(engine) / "snapshots" / str(number) / "fs"


def layer_of(client: Client) -> str:
    return client("inspect", "-f", "{{index .RootFS.Layers 0}}", BUSYBOX)  # the first layer's chain ID is its diff ID


def test_a_running_engine_has_no_problems(sampan: Client) -> None:
    sampan("run", "-d", "--name", "box", BUSYBOX, "sleep", "1000")
    assert checked(sampan) == checked(sampan, "--repair") == (0, "")
    assert sampan("exec", "box", "echo", "here") == "here"


def test_a_layer_whose_files_are_gone_is_unpacked_again(sampan: Client, engine: Engine) -> None:
    sampan("run", "--rm", BUSYBOX, "true")
    lost = files_of(engine, layer_of(sampan))
    shutil.rmtree(lost)
    assert checked(sampan) == (1, "lost snapshot no")
    assert checked(sampan, "--repair") == (0, "lost snapshot yes")
    assert checked(sampan) == (0, "")
    assert sampan("run", "--rm", BUSYBOX, "echo", "again") == "again"


def test_a_changed_file_of_a_layer_is_found_if_asked_for_and_mended(sampan: Client, engine: Engine) -> None:
    sampan("run", "--rm", BUSYBOX, "true")
    assert checked(sampan, "--files") == (0, "")
    changed = files_of(engine, layer_of(sampan)) / "bin/busybox"
    status = changed.stat()
    with changed.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert checked(sampan) == (0, "")
    assert checked(sampan, "--files") == (1, "changed snapshot no")
    assert checked(sampan, "--files", "--repair") == (0, "changed snapshot yes")
    assert checked(sampan, "--files") == (0, "")
    assert sampan("run", "--rm", BUSYBOX, "echo", "again") == "again"


def test_a_container_stays_while_its_image_is_broken(sampan: Client, engine: Engine) -> None:
    sampan("run", "-d", "--name", "box", BUSYBOX, "sleep", "1000")
    shutil.rmtree(files_of(engine, layer_of(sampan)))
    status, said = checked(sampan, "--repair")
    assert status == 1
    assert "lost snapshot no" in said
    assert sampan("inspect", "-f", "{{.State.Status}}", "box") == "running"
    sampan("rm", "-f", "box")
    assert checked(sampan, "--repair")[0] == 0
    assert sampan("run", "--rm", BUSYBOX, "echo", "again") == "again"


def test_strays_are_found_while_the_engine_runs_and_removed(sampan: Client, engine: Engine) -> None:
    content = engine.data_root / "images/content"
    for path in (content / "ingest/left", content / "blobs/sha256" / ("0" * 64)):
        path.write_bytes(b"left")
    assert checked(sampan) == (1, "stray file no\nstray file no")
    assert checked(sampan, "--repair") == (0, "stray file yes\nstray file yes")
    assert list((content / "ingest").iterdir()) == []


def test_a_flipped_bit_is_found_and_a_load_mends_it(sampan: Client, engine: Engine, archives: Archives) -> None:
    blob = max((engine.data_root / "images/content/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    assert checked(sampan) == (1, "corrupt blob no")
    assert checked(sampan, "--repair") == (1, "corrupt blob no")
    assert checked(sampan) == (1, "missing blob no")
    sampan("load", "-q", "-i", str(archives.busybox))
    assert checked(sampan) == (0, "")
