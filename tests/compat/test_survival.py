"""kill -9 of the daemon while five containers run: they lose nothing."""

import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.test_run import free_port
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Dockerd, Engine

IMAGE = "busybox:test"


def test_five_containers_survive_the_daemons_death(
    start_engine: Callable[..., Engine], archives: Archives, tmp_path: Path
) -> None:
    engine = start_engine()
    if isinstance(engine, Dockerd):
        pytest.skip("dockerd's published ports and containerd die with it")
    docker = Client("docker", engine)
    docker("load", "--input", str(archives.busybox))
    port = free_port()
    os.mkfifo(tmp_path / "gap")
    docker("run", "-d", "--name", "web", "-p", f"{port}:80", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
    docker("run", "-dit", "--name", "shell", IMAGE, "sh")
    docker("run", "-di", "--name", "pipe", IMAGE, "cat")
    docker("run", "-d", "--name", "talker", IMAGE, "sh", "-c", "mkfifo /go; echo one; read x </go; echo two; exit 4")
    docker("run", "-d", "--name", "gone", "-v", f"{tmp_path}:/mnt", IMAGE, "sh", "-c", "read x </mnt/gap; exit 7")
    pids = {
        name: engine.get(f"/containers/{name}/json")["State"]["Pid"] for name in ("web", "shell", "pipe", "talker")
    }

    engine.kill()
    _end_in_the_gap(engine, tmp_path / "gap", docker)
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"
    engine.start()

    for name, pid in pids.items():
        state = engine.get(f"/containers/{name}/json")["State"]
        assert (state["Running"], state["Pid"]) == (True, pid)
    assert docker("wait", "gone") == "7"  # its monitor may have only just recorded the exit
    gone = engine.get("/containers/gone/json")["State"]
    assert (gone["Status"], gone["ExitCode"]) == ("exited", 7)
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"
    assert docker("exec", "web", "cat", "/www/index.html") == "three planks"
    _attach_works(docker)
    _logs_work(docker)


def _end_in_the_gap(engine: Engine, fifo: Path, docker: Client) -> None:
    """Let the container `gone` exit while no daemon runs, and wait until it has."""
    reader = os.open(fifo, os.O_WRONLY)
    holders = [pid for pid in _pids() if _opens(pid, fifo) and pid != os.getpid()]
    pidfds = [os.pidfd_open(pid) for pid in holders]
    os.write(reader, b"go\n")
    os.close(reader)
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 30)[0], "the container did not end"
        os.close(pidfd)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _opens(pid: int, path: Path) -> bool:
    try:
        return any(
            os.stat(f"/proc/{pid}/fd/{fd}").st_ino == path.stat().st_ino for fd in os.listdir(f"/proc/{pid}/fd")
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _attach_works(docker: Client) -> None:
    with docker.terminal("attach", "shell") as terminal:
        terminal.send("echo al''ive\n")
        terminal.expect("alive")
        terminal.send("exit 5\n")
        assert terminal.wait() == 5
    assert docker("wait", "shell") == "5"
    attached = docker.spawn("attach", "pipe")
    assert attached.stdin is not None and attached.stdout is not None
    attached.stdin.write("through\n")
    assert attached.stdout.readline() == "through\n"
    attached.kill()
    attached.communicate()


def _logs_work(docker: Client) -> None:
    following = docker.spawn("logs", "-f", "talker")
    assert following.stdout is not None
    assert following.stdout.readline() == "one\n"
    docker("exec", "-d", "talker", "sh", "-c", "echo >/go")  # -d: killed with the container
    assert following.communicate(timeout=30)[0] == "two\n"
    assert docker("wait", "talker") == "4"
