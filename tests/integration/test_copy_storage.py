"""The storage driver `copy`: an engine without any storage plugin, on file systems with and without reflinks."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sampan.drivers import ChangeKind, Mount, SnapshotKind
from sampan.storage.copy_driver import CopyDriver
from sampan.testing.mounting import run_inside
from tests.conftest import Archives, EngineFactory, LoadedSampand
from tests.support.clients import Client
from tests.support.engines import Engine, Sampand
from tests.support.registry import Registry

pytestmark = pytest.mark.root
CRASH = Path(__file__).with_name("storage_crash.py")
BUSYBOX = "busybox:test"


@pytest.fixture(scope="module")
def engine(loaded_sampand: LoadedSampand) -> Iterator[Engine]:
    with loaded_sampand("--storage-driver", "copy") as engine:
        yield engine


@pytest.fixture
def docker(engine: Engine) -> Iterator[Client]:
    yield Client("docker", engine)
    engine.remove_containers()


def snapshots(engine: Engine) -> int:
    return len(list((engine.data_root / "drivers/copy/snapshots").iterdir()))


def test_info_names_the_driver_and_what_is_below(docker: Client) -> None:
    info = docker("info")
    assert "Storage Driver: copy" in info
    assert "Backing Filesystem: " in info
    assert "Reflinks: " in info


def test_an_image_of_several_layers_is_pulled_and_run(docker: Client, tmp_path: Path, archives: Archives) -> None:
    with closing(Registry(tmp_path)) as registry:
        reference = registry.push(archives.layered, "planks/layered:test")
        docker("pull", "-q", reference)
    assert docker("inspect", "-f", "{{.Id}}", reference) == archives.layered_id
    docker("create", "--name", "box", reference)
    with tarfile.open(fileobj=io.BytesIO(_bytes(docker, "export", "box"))) as exported:
        names = {name for name in exported.getnames() if name.startswith(("tree", "hidden", "dangling", "labelled"))}
    assert "tree/removed" not in names
    assert {"hidden", "hidden/above", "dangling", "labelled"} <= names
    docker("rm", "box")
    docker("rmi", reference)


def test_run_exec_diff_and_copies(docker: Client, tmp_path: Path) -> None:
    docker("run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "rm /bin/ls; echo new >/new; exec sleep 1000")
    assert docker("exec", "box", "sh", "-c", "while ! [ -s /new ]; do sleep 0.05; done; cat /new") == "new"
    assert sorted(docker("diff", "box").splitlines()) == ["A /new", "C /bin", "D /bin/ls"]
    docker("cp", "box:/new", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "new\n"
    (tmp_path / "in").write_text("from the host")
    docker("cp", str(tmp_path / "in"), "box:/in")
    assert docker("exec", "box", "cat", "/in") == "from the host"
    docker("restart", "-t", "0", "box")
    assert docker("exec", "box", "cat", "/in") == "from the host"


def test_a_commit_holds_only_what_changed_and_comes_back_from_an_archive(docker: Client, tmp_path: Path) -> None:
    docker("run", "--name", "box", BUSYBOX, "sh", "-c", "mkdir /dir; echo new >/dir/new; rm /bin/ls")
    docker("commit", "box", "changed:test")
    docker("save", "-o", str(tmp_path / "saved.tar"), "changed:test")
    with tarfile.open(tmp_path / "saved.tar") as saved:
        top = max(
            (name for name in saved.getnames() if name.startswith("blobs/sha256/") and _is_tar(saved, name)),
            key=lambda name: "dir/new" in _names(saved, name),
        )
        assert sorted(_names(saved, top)) == ["bin", "bin/.wh.ls", "dir", "dir/new"]
    before = docker("inspect", "-f", "{{.Id}}", "changed:test")
    docker("rm", "box")
    docker("rmi", "changed:test")
    docker("load", "-q", "-i", str(tmp_path / "saved.tar"))
    assert docker("inspect", "-f", "{{.Id}}", "changed:test") == before
    assert docker("run", "--rm", "changed:test", "cat", "/dir/new") == "new"
    assert docker.run("run", "--rm", "changed:test", "ls").returncode == 127
    docker("rmi", "changed:test")


def test_removing_all_leaves_no_directory(docker: Client, engine: Engine) -> None:
    before = snapshots(engine)
    docker("run", "--rm", BUSYBOX, "true")
    once = snapshots(engine)
    docker("run", "--rm", BUSYBOX, "true")
    assert snapshots(engine) == once
    assert once - before <= 1  # the base of an image's containers is made once


def test_containers_live_on_over_a_killed_daemon(docker: Client, engine: Engine) -> None:
    docker("run", "-d", "--name", "box", BUSYBOX, "sh", "-c", "echo kept >/kept; exec sleep 1000")
    docker("exec", "box", "sh", "-c", "while ! [ -s /kept ]; do sleep 0.05; done")
    engine.kill()
    engine.start()
    assert docker("exec", "box", "cat", "/kept") == "kept"
    assert docker("diff", "box") == "A /kept"


def test_another_driver_is_refused_where_one_has_images(start_sampand: EngineFactory, archives: Archives) -> None:
    engine = start_sampand("--storage-driver", "copy")
    Client("docker", engine)("load", "-q", "-i", str(archives.busybox))
    engine.stop()
    other = Sampand(engine.root, ("--storage-driver", "overlayfs"))
    done = subprocess.run(other.command(), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert 'were made with storage driver "copy": use that one, or another data root' in done.stderr
    engine.start()
    assert Client("docker", engine)("images", "-q", BUSYBOX)


def test_where_overlayfs_cannot_work_the_other_driver_is_named(tmp_path: Path) -> None:
    """The data root lies on an overlay, as in a container."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = (f"lowerdir={tmp_path}/lower", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work")
    said = run_inside([Mount("overlay", "overlay", options)], _start_with_overlayfs)
    assert "storage driver \"overlayfs\" can't work on this host: overlayfs can't be mounted" in said
    assert "try --storage-driver copy" in said


def test_it_works_on_an_overlay(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = (f"lowerdir={tmp_path}/lower", f"upperdir={tmp_path}/upper", f"workdir={tmp_path}/work")
    run_inside([Mount("overlay", "overlay", options)], _work_on_an_overlay)


def _work_on_an_overlay(root: Path) -> None:
    with closing(CopyDriver(root)) as driver:
        assert driver.probe() is None
        assert dict(driver.status())["Backing Filesystem"] == "overlay"
        base = Path(driver.prepare("key", None)[0].source)
        (base / "old").write_text("old")
        (base / "able").touch()
        os.setxattr(
            base / "able", "security.capability", bytes.fromhex("01000002000400000000000000000000") + bytes(4)
        )
        os.mknod(base / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        driver.commit("base", "key")
        copy = Path(driver.prepare("container", "base")[0].source)
        assert os.getxattr(copy / "able", "security.capability").startswith(b"\1\0\0\2\0\4")
        assert (copy / "null").stat().st_rdev == os.makedev(1, 3)
        (copy / "new").touch()
        (copy / "old").unlink()
        assert [(one.path, one.kind) for one in driver.changes("container")] == [
            ("/new", ChangeKind.ADDED),
            ("/old", ChangeKind.DELETED),
        ]


def _start_with_overlayfs(root: Path) -> str:
    command = Sampand(root, ("--storage-driver", "overlayfs")).command()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_copies_share_their_blocks_where_the_file_system_has_reflinks(kind: str, tmp_path: Path) -> None:
    make = shutil.which(f"mkfs.{kind}", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if make is None or f"\t{kind}\n" not in Path("/proc/filesystems").read_text():
        pytest.skip(f"no mkfs.{kind}, or a kernel without {kind}")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([make, "-q", disk], check=True, capture_output=True)
    run_inside([Mount("tmpfs", "tmpfs")], lambda root: _copy_on(disk, kind, root))


def _copy_on(disk: Path, kind: str, root: Path) -> None:
    subprocess.run(["mount", "-o", "loop", "-t", kind, disk, root], check=True)  # in a namespace that dies with us
    with ExitStack() as undo:
        undo.callback(subprocess.check_call, ["umount", root])
        (root / "state").mkdir()
        driver = undo.enter_context(closing(CopyDriver(root / "state")))
        assert dict(driver.status()) == {"Backing Filesystem": kind, "Reflinks": "true"}
        Path(driver.prepare("key", None)[0].source, "file").write_bytes(os.urandom(20 << 20))
        driver.commit("base", "key")
        before = _free_bytes(root)
        for number in range(5):
            driver.prepare(str(number), "base")
        assert before - _free_bytes(root) < 5 << 20


def _free_bytes(root: Path) -> int:
    subprocess.run(["sync", "-f", root], check=True)
    status = os.statvfs(root)
    return status.f_bavail * status.f_frsize


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many lines of the driver the crash script runs."""
    done = _crash(tmp_path_factory.mktemp("whole"), 0)
    assert done.returncode == 0
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("share", [number / 16 for number in range(16)])
def test_killed_at_any_line_every_call_has_happened_or_has_not(share: float, lines: int, tmp_path: Path) -> None:
    done = _crash(tmp_path, 1 + int(share * lines))
    assert done.returncode == -signal.SIGKILL
    driver = CopyDriver(tmp_path)
    driver.wait_for_removals()
    kinds = {snapshot.name: snapshot.kind for snapshot in driver.list()}
    for line in done.stdout.splitlines():
        verb, _, name = line.partition(" ")
        if verb == "committed":
            assert kinds[name] is SnapshotKind.COMMITTED
        if verb == "removed":
            assert name not in kinds
    assert len(list((tmp_path / "snapshots").iterdir())) == len(kinds)
    assert list((tmp_path / "trash").iterdir()) == []
    if "container" in kinds:
        assert Path(driver.mounts("container")[0].source, "file").read_text() == "content"
    driver.close()


def _crash(state_dir: Path, line: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CRASH), "copy", str(state_dir), str(line)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def _bytes(client: Client, *words: str) -> bytes:
    return subprocess.run(client.command(*words), check=True, capture_output=True).stdout


def _is_tar(saved: tarfile.TarFile, name: str) -> bool:
    file = saved.extractfile(name)
    return file is not None and file.read(1) != b"{"


def _names(saved: tarfile.TarFile, name: str) -> list[str]:
    with tarfile.open(fileobj=saved.extractfile(name)) as layer:
        return layer.getnames()
