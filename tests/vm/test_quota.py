"""`--storage-opt size=` limits what a container can write, on a data root whose file system has project quotas."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Sampand, running
from tests.vm.test_unified import IMAGE

MIB = 1 << 20
DISK_MIB = 400
FULL = ("No space left on device", "Disk quota exceeded", "Quota exceeded")


@pytest.fixture(scope="module")
def shared_engine(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Sampand]:
    """An engine whose data root is on its own XFS."""
    engine = Sampand(Path(mkdtemp(prefix="q", dir=session_dir)))
    disk = engine.root / "disk"
    with disk.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    engine.data_root.mkdir()
    try:
        subprocess.run(["mkfs.xfs", "-q", str(disk)], check=True, capture_output=True)
        subprocess.run(
            ["mount", "-o", "loop,pquota", str(disk), str(engine.data_root)], check=True, capture_output=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no XFS with project quota here: {error}")
    leak_marks.extend(engine.marks)
    try:
        with running(engine):
            Client("docker", engine)("load", "--quiet", "--input", str(archives.busybox))
            yield engine
    finally:
        subprocess.run(["umount", str(engine.data_root)], check=True)


def writing(name: str, size_mib: int) -> tuple[str, ...]:
    return ("dd", "if=/dev/zero", f"of=/{name}", "bs=1M", f"count={size_mib}")


def test_a_container_writes_no_more_than_its_size(docker: Client, tmp_path: Path) -> None:
    docker("create", "--name", "bound", "--storage-opt", "size=16m", IMAGE, *writing("file", 32))
    written = docker.run("start", "--attach", "bound")
    assert written.returncode != 0
    assert any(words in written.stderr for words in FULL), written.stderr
    docker("cp", "bound:/file", str(tmp_path))
    assert 8 * MIB < (tmp_path / "file").stat().st_size <= 16 * MIB
    assert docker("inspect", "--format", "{{json .HostConfig.StorageOpt}}", "bound") == '{"size":"16m"}'


def test_others_have_the_whole_disk(docker: Client) -> None:
    docker("run", "--detach", "--name", "bound", "--storage-opt", "size=8m", IMAGE, "sleep", "600")
    docker("run", "--rm", IMAGE, *writing("file", 64))
    assert docker.run("exec", "bound", *writing("file", 12)).returncode != 0
    docker("exec", "bound", "rm", "/file")
    docker("exec", "bound", *writing("file", 4))


def test_a_container_is_bound_after_a_restart_of_the_daemon_too(engine: Sampand, docker: Client) -> None:
    docker("run", "--detach", "--name", "bound", "--storage-opt", "size=8m", IMAGE, "sleep", "600")
    engine.stop()
    engine.start()
    assert docker.run("exec", "bound", *writing("file", 12)).returncode != 0
    docker("restart", "--timeout", "0", "bound")
    assert docker.run("exec", "bound", *writing("more", 12)).returncode != 0


def test_what_is_no_size_is_refused_in_dockers_words(docker: Client) -> None:
    refused = docker.run("create", "--storage-opt", "size=much", IMAGE)
    assert refused.returncode == 1
    assert "invalid size: 'much'" in refused.stderr
