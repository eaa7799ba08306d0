"""Copies into and out of real containers: malicious ones, large ones, and a full disk."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Engine, UnixConnection
from tests.support.images import Entry, directory, hard_link, layer, symlink
from tests.support.trees import differences, tree

pytestmark = pytest.mark.root
IMAGE = "busybox:test"
LARGE_BYTES = 1 << 30
ROUNDS, ENOUGH_S, ENOUGH_SWAPS = 60, 120.0, 10
SWAP = """
cd /trap; mkdir real; echo inside >real/secret; mkdir real/sub; mv real dir
while :; do mv dir kept; ln -s {canary} dir; rm dir; mv kept dir; done
"""
SWAP_FILE = "cd /trap; while :; do echo inside >secret; ln -sf {canary}/secret secret; rm -f secret; done"


@pytest.fixture
def engine(start_sampand: Callable[..., Engine], archives: Archives) -> Engine:
    engine = start_sampand()
    with contextlib.closing(Client("docker", engine)) as docker:
        docker("load", "--input", str(archives.busybox))
    return engine


@pytest.fixture
def docker(engine: Engine) -> Iterator[Client]:
    with contextlib.closing(Client("docker", engine)) as client:
        yield client


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A host tree that must not be read or written through a container."""
    path = tmp_path / "canary"
    (path / "sub").mkdir(parents=True)
    (path / "secret").write_text("the host's\n")
    return path


def ask(engine: Engine, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        with contextlib.suppress(Exception):  # a truncated archive
            return answer.status, answer.read()
        return answer.status, b""


def archive(path: str, **more: str) -> str:
    return f"/containers/trap/archive?path={quote(path)}" + "".join(
        f"&{name}={value}" for name, value in more.items()
    )


# Malicious containers


def swaps_in(found: Sequence[bool]) -> int:
    """How often the path appeared or disappeared between two consecutive requests."""
    return sum(one != other for one, other in pairwise(found))


def rounds(found: Sequence[bool]) -> Iterator[int]:
    """Number the rounds, stopping early on slow machines: after enough time, if enough swaps were seen."""
    begin = time.monotonic()
    for number in range(ROUNDS):
        yield number
        if time.monotonic() - begin > ENOUGH_S and swaps_in(found) >= ENOUGH_SWAPS:
            return


@pytest.mark.parametrize(
    ("swapping", "swapped"), [(SWAP, "/trap/dir"), (SWAP_FILE, "/trap/secret")], ids=["directory", "file"]
)
def test_links_swapped_in_a_race_lead_nowhere(
    engine: Engine, docker: Client, canary: Path, swapping: str, swapped: str
) -> None:
    """CVE-2018-15664, CVE-2026-41568: the container swaps a path for a link to the host's during the copy."""
    before = tree(canary)
    docker("run", "-d", "--name", "trap", "-v", "/trap", IMAGE, "sh", "-c", swapping.format(canary=canary))
    statuses: set[int] = set()
    found: list[bool] = []
    content = layer([Entry("secret", b"dead"), directory("sub"), Entry("sub/new", b"dead"), symlink("way", "sub")])

    def race(method: str, path: str, body: bytes | None = None) -> bytes:
        status, answer = ask(engine, method, archive(path), body)
        statuses.add(status)
        if path.startswith(swapped):
            found.append(status == 200)
        return answer

    for _ in rounds(found):
        for path in ("/trap/dir", "/trap/dir/secret", "/trap/", "/trap/secret"):
            assert b"the host's" not in race("GET", path)
        for path in ("/trap/dir", "/trap/dir/sub", "/trap"):
            race("PUT", path, content)
        assert b"the host's" not in ask(engine, "GET", "/containers/trap/export")[1]
        ask(engine, "GET", "/containers/trap/changes")
    assert tree(canary) == before
    assert statuses <= {200, 400, 404, 500}
    assert swaps_in(found) > 0


def test_a_hostile_archive_changes_nothing_but_the_container(engine: Engine, docker: Client, canary: Path) -> None:
    before = tree(canary)
    docker("run", "-d", "--name", "trap", IMAGE, "sleep", "1000")
    up = "../" * 20
    hostile = [
        layer([Entry(f"{up}{canary}/secret", b"dead")]),
        layer([Entry(f"{canary}/secret", b"dead"), directory(f"{canary}/new")]),
        layer([symlink("out", str(canary)), Entry("out/secret", b"dead"), Entry("out/new", b"dead")]),
        layer([symlink("out", f"{up}{canary}"), hard_link("twin", "out/secret"), Entry("twin", b"dead")]),
        layer([hard_link("twin", f"{canary}/secret"), Entry("twin", b"dead")]),
        layer([symlink("a", "b"), symlink("b", "a"), Entry("a/x", b"dead")]),
        layer([symlink("fd", "/proc/self/root"), Entry(f"fd{canary}/secret", b"dead")]),
        layer([symlink("fd", "/proc/1/root"), Entry(f"fd{canary}/secret", b"dead")]),
        layer([symlink("cwd", "/proc/self/cwd"), Entry("cwd/x", b"dead")]),
        layer([Entry("dev", type=b"4", device=(8, 0)), Entry("dev", b"dead")]),
        layer([Entry("x", xattrs={"trusted.overlay.opaque": "y", "trusted.overlay.redirect": "/etc"})]),
        layer([Entry("x", uid=2**31 + 5)]),
    ]
    for content in hostile:
        for path in ("/", "/tmp"):
            status, body = ask(engine, "PUT", archive(path), content)
            assert status in (200, 400, 404), (status, body)
    assert tree(canary) == before
    assert docker("exec", "trap", "cat", "/etc/passwd").startswith("root:")


def test_nothing_of_the_kernels_can_be_reached(engine: Engine, docker: Client, canary: Path) -> None:
    docker("run", "-d", "--name", "trap", "--pid", "host", "--privileged", IMAGE, "sleep", "1000")
    docker("exec", "trap", "ln", "-s", f"/proc/1/root{canary}", "/out")
    for path in ("/proc/1/root/etc/hostname", "/sys/kernel/notes", "/out/secret", "/proc/kmsg", "/dev/kmsg"):
        assert ask(engine, "GET", archive(path))[0] == 404
    status, body = ask(engine, "PUT", archive("/"), layer([Entry("out/x", b"dead")]))
    assert status in (200, 400, 404), body
    assert not (canary / "x").exists()


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_copying_process_opens_nothing_of_its_own_in_the_container(
    engine: Engine, docker: Client, tmp_path: Path
) -> None:
    """CVE-2019-14271: any modules, locales or codecs it loaded then would be the container's."""
    assert engine.process is not None
    docker("run", "-d", "--name", "trap", IMAGE, "sleep", "1000")
    trace = tmp_path / "trace"
    calls = "trace=open,openat,openat2,execve,setns,socket"
    command = ["strace", "-f", "-s", "400", "-o", str(trace), "-e", calls, "-p", str(engine.process.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        assert ask(engine, "PUT", archive("/tmp"), layer([Entry("f")]))[0] == 200
        assert ask(engine, "PUT", archive("/tmp"), b"garbage" * 1000)[0] == 400
        assert ask(engine, "GET", archive("/tmp"))[0] == 200
        tracer.terminate()
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    workers = {pid for pid, call in lines if call.startswith("execve(") and "copy_worker" in call}
    assert len(workers) == 3
    for worker in workers:
        own = "\n".join(call for pid, call in lines if pid == worker).split("setns(")[1]
        assert re.findall(r'open\w*\(AT_FDCWD, "([^"]*)"|execve|socket\(', own) == ["/"]


# Mounts of a running container


def test_what_is_mounted_in_a_running_container_is_seen(engine: Engine, docker: Client, tmp_path: Path) -> None:
    options = ("--tmpfs", "/scratch", "-v", f"{tmp_path}:/bound", "-v", "/volume", "--read-only")
    docker(
        "run", "-d", "--name", "trap", *options, IMAGE, "sh", "-c", "echo t >/scratch/t; touch /volume/v; sleep 1000"
    )
    docker("exec", "trap", "sh", "-c", "while ! [ -e /volume/v ]; do sleep 0.1; done")
    (tmp_path / "s").write_text("s\n")
    for path in ("/scratch", "/bound", "/volume"):
        docker("cp", str(tmp_path / "s"), f"trap:{path}/in")
        assert docker("exec", "trap", "cat", f"{path}/in") == "s"
    docker("cp", "trap:/scratch/t", str(tmp_path / "t"))
    assert (tmp_path / "t").read_text() == "t\n"
    assert docker("diff", "trap").splitlines() == ["A /bound", "A /scratch", "A /volume"]
    _, whole = ask(engine, "GET", "/containers/trap/export")
    listed = subprocess.run(["tar", "tf", "-"], input=whole, check=True, capture_output=True).stdout.decode().split()
    assert {"bound/", "scratch/", "volume/"} <= set(listed)
    assert not {"bound/in", "scratch/t", "volume/v", "proc/version"} & set(listed)


def test_a_copy_goes_on_when_the_container_ends(engine: Engine, docker: Client) -> None:
    docker("run", "-d", "--name", "trap", IMAGE, "sh", "-c", "head -c 20000000 /dev/zero >/large; exec sleep 1000")
    docker("exec", "trap", "sh", "-c", "while [ $(stat -c %s /large) -lt 20000000 ]; do sleep 0.1; done")
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request("GET", archive("/large"))
        answer = connection.getresponse()
        assert len(answer.read(1000)) == 1000
        docker("rm", "-f", "trap")
        assert len(answer.read()) == 512 + 20_000_000 + 256 + 1024 - 1000


# Large copies and full disks


def memory_of(pid: int) -> int:
    """A process's peak resident memory, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def test_a_gigabyte_goes_both_ways_in_flat_memory(engine: Engine, docker: Client, tmp_path: Path) -> None:
    assert engine.process is not None
    pid = engine.process.pid
    if shutil.disk_usage(tmp_path).free < 3 * LARGE_BYTES + (100 << 20):
        pytest.skip(f"{tmp_path} has no room for three files of {LARGE_BYTES >> 20} MiB")
    with (tmp_path / "large").open("wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(LARGE_BYTES >> 20):
            file.write(block)
    docker("run", "-d", "--name", "trap", IMAGE, "sleep", "1000")
    (tmp_path / "small").write_text("small")
    docker("cp", str(tmp_path / "small"), "trap:/small")
    docker("cp", "trap:/small", str(tmp_path / "back"))
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # reset the peak
    before = memory_of(pid)
    docker("cp", str(tmp_path / "large"), "trap:/large", timeout_s=600)
    docker("cp", "trap:/large", str(tmp_path / "back"), timeout_s=600)
    assert memory_of(pid) - before < 20 << 20
    assert subprocess.run(["cmp", tmp_path / "large", tmp_path / "back"], check=False).returncode == 0
    (tmp_path / "back").unlink()


def test_a_slow_client_blocks_nobody(engine: Engine, docker: Client) -> None:
    docker("run", "-d", "--name", "trap", IMAGE, "sh", "-c", "head -c 50000000 /dev/zero >/large; exec sleep 1000")
    docker("exec", "trap", "sh", "-c", "while [ $(stat -c %s /large) -lt 50000000 ]; do sleep 0.1; done")
    with contextlib.ExitStack() as undo:
        for _ in range(8):
            connection = undo.enter_context(contextlib.closing(UnixConnection(engine.socket)))
            connection.request("GET", archive("/large"))
            assert connection.getresponse().read(10)
            slow = undo.enter_context(contextlib.closing(UnixConnection(engine.socket)))
            slow.putrequest("PUT", archive("/tmp"))
            slow.putheader("Content-Length", "1000000")
            slow.endheaders()
        assert docker("exec", "trap", "echo", "there") == "there"
        docker("restart", "-t", "0", "trap")
        docker("rm", "-f", "trap")


def test_a_commit_on_a_full_disk_leaves_nothing(
    start_sampand: Callable[..., Engine], archives: Archives, session_dir: Path
) -> None:
    engine = start_sampand()
    usual = engine.data_root
    with small_disk(engine.root / "small") as disk, contextlib.closing(Client("docker", engine)) as docker:
        engine.stop()
        engine.data_root = disk
        engine.start()
        docker("load", "--input", str(archives.busybox))
        docker("run", "--name", "trap", IMAGE, "sh", "-c", "head -c 25000000 /dev/urandom >/large")
        before = (images_of(engine), files_below(disk))
        done = docker.run("commit", "trap", "made:1")
        assert done.returncode == 1
        assert "no space left on device" in done.stderr.lower()
        assert (images_of(engine), files_below(disk)) == before
        docker("cp", "trap:/large", str(engine.root / "back"))
        engine.remove_containers()
        engine.stop()
    engine.data_root = usual
    engine.start()


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system with room for 60 MB, on which overlayfs can keep its layers."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def images_of(engine: Engine) -> list[str]:
    return sorted(image["Id"] for image in engine.get("/images/json?all=1"))


def files_below(root: Path) -> list[str]:
    """The stored content and snapshots."""
    kept = [path for path in root.rglob("*") if "/content/" in f"{path}/" or path.parent.name == "snapshots"]
    return sorted(str(path) for path in kept)


def test_a_commit_of_a_running_container_is_whole(engine: Engine, docker: Client, tmp_path: Path) -> None:
    """Hard links, owners, attributes and times are kept; so are deletions, also of whole trees."""
    prepare = (
        "mkdir -p /t/deep/er; echo x >/t/f; ln /t/f /t/hard; mkfifo /t/fifo; chown 5:6 /t/deep; chmod 2750 /t/deep;"
        "rm -r /www; rm /etc/group; rm -r /home; mkdir /home; echo n >/home/n; rm -r /var; echo f >/var;"
        "touch -d @77 /t/f"
    )
    docker("run", "-d", "--name", "trap", IMAGE, "sh", "-c", f"{prepare}; touch /ready; sleep 1000")
    docker("exec", "trap", "sh", "-c", "while ! [ -e /ready ]; do sleep 0.1; done")
    docker("commit", "trap", "made:1")
    docker("create", "--name", "twin", "made:1", "true")
    for name in ("trap", "twin"):
        (tmp_path / name).mkdir()
        _, content = ask(engine, "GET", f"/containers/{name}/export")
        subprocess.run(["tar", "xpf", "-", "-C", tmp_path / name, "--xattrs"], input=content, check=True)
    left = [line for line in differences(tree(tmp_path / "trap"), tree(tmp_path / "twin")) if "etc/ho" not in line]
    assert [line for line in left if not line.startswith(("dev", ".dockerenv", "etc", "sys", "proc"))] == []
    assert docker("diff", "twin") == ""
    told = json.loads(docker("inspect", "made:1"))[0]
    assert len(told["RootFS"]["Layers"]) == 2
    docker("rm", "twin")
    docker("rmi", "made:1")


def test_many_copies_at_once(engine: Engine, docker: Client, tmp_path: Path) -> None:
    docker("run", "-d", "--name", "trap", IMAGE, "sleep", "1000")
    statuses: list[int] = []

    def copy(number: int) -> None:
        content = layer([Entry(f"f{number}-{one}", b"x" * 10_000) for one in range(50)])
        statuses.append(ask(engine, "PUT", archive("/tmp"), content)[0])
        statuses.append(ask(engine, "GET", archive("/tmp"))[0])

    threads = [threading.Thread(target=copy, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    assert docker("exec", "trap", "sh", "-c", "ls /tmp | wc -l") == "600"
