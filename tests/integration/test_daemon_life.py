"""The life of real containers: frozen, thawed, probed and restarted, across daemon crashes."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LoadedSampand
from tests.support.clients import Client
from tests.support.containers import await_event, call, create, events, eventually, run, state_of
from tests.support.engines import Engine

pytestmark = pytest.mark.root
MS = 1_000_000
COUNT = ("sh", "-c", "while :; do echo tick; sleep 0.05; done")


@pytest.fixture(scope="module")
def engine(loaded_sampand: LoadedSampand) -> Iterator[Engine]:
    with loaded_sampand() as engine:
        yield engine


@pytest.fixture(autouse=True)
def no_containers_left(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()


def lines_of(engine: Engine, name: str) -> int:
    return engine.request("GET", f"/containers/{name}/logs?stdout=1")[1].count(b"tick")


def commands(engine: Engine, name: str) -> list[str]:
    """The commands running in a container."""
    return [row[-1] for row in engine.get(f"/containers/{name}/top?ps_args=-o%20pid,args")["Processes"]]


def is_frozen(cgroups: Path, pid: int) -> bool:
    """Whether the kernel reports the process's cgroup as frozen."""
    _, _, group = Path(f"/proc/{pid}/cgroup").read_text().rpartition("0::/")
    return "frozen 1" in (cgroups / group.strip() / "cgroup.events").read_text()


def check(*test: str, **fields: int) -> dict[str, Any]:
    return {"Healthcheck": {"Test": list(test), "Interval": 50 * MS, "Retries": 1, **fields}}


def test_a_paused_container_stands_still_over_a_killed_daemon(engine: Engine, cgroups: Path) -> None:
    run(engine, "box", *COUNT)
    assert eventually(lambda: lines_of(engine, "box") > 2)
    assert call(engine, "POST", "/containers/box/pause")[0] == 204
    engine.kill()
    engine.start()
    assert state_of(engine, "box")["Paused"] is True
    assert is_frozen(cgroups, state_of(engine, "box")["Pid"])
    said = lines_of(engine, "box")
    assert call(engine, "POST", "/containers/box/unpause")[0] == 204
    assert eventually(lambda: lines_of(engine, "box") > said)


@pytest.mark.parametrize(("how", "code"), [("stop", 9), ("kill", 137)])
def test_a_paused_container_can_be_ended(engine: Engine, how: str, code: int) -> None:
    run(engine, "box", "sh", "-c", "trap 'exit 9' TERM; echo tick; while :; do sleep 0.05; done")
    assert eventually(lambda: lines_of(engine, "box") > 0)
    call(engine, "POST", "/containers/box/pause")
    assert call(engine, "POST", f"/containers/box/{how}")[0] == 204
    assert state_of(engine, "box")["ExitCode"] == code


def test_top_shows_the_containers_processes_only(engine: Engine) -> None:
    if (asked := subprocess.run(["ps", "-ef"], check=False, capture_output=True, text=True)).returncode:
        pytest.skip(f"ps can't read this kernel's /proc: {asked.stderr.strip()}")
    run(engine, "box", "sh", "-c", "sleep 600 & sleep 601; true")
    # the shell's children have its arguments until they exec
    assert eventually(lambda: sorted(commands(engine, "box"))[1:] == ["sleep 600", "sleep 601"])
    titles = engine.get("/containers/box/top")["Titles"]
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]


def test_a_probe_that_takes_too_long_leaves_no_process(engine: Engine) -> None:
    with events(engine) as told:
        id = run(engine, "box", **check("CMD-SHELL", "sleep 555 & sleep 556", Timeout=200 * MS))
        await_event(told, "health_status: unhealthy", id)
        call(engine, "POST", "/containers/box/pause")
        call(engine, "POST", "/containers/box/unpause")
    [result, *_] = state_of(engine, "box")["Health"]["Log"]
    assert (result["ExitCode"], result["Output"]) == (-1, "Health check exceeded timeout (200ms)")
    call(engine, "POST", "/containers/box/pause")  # no probe runs from here on
    assert eventually(lambda: commands(engine, "box") == ["sleep 1000"]), commands(engine, "box")


def test_probes_go_on_after_a_killed_daemon(engine: Engine) -> None:
    with events(engine) as told:
        id = run(engine, "box", **check("CMD", "test", "!", "-e", "/ill"))
        await_event(told, "health_status: healthy", id)
    engine.kill()
    engine.start()
    assert state_of(engine, "box")["Health"]["Status"] == "healthy"
    with events(engine) as told:
        Client("docker", engine)("exec", "box", "touch", "/ill")
        await_event(told, "health_status: unhealthy", id)


def test_docker_reaches_on_unhealthy_by_its_own_flag(engine: Engine) -> None:
    docker = Client("docker", engine)
    with events(engine) as told:
        health = (
            "--health-cmd",
            "test -e /ill && exit 1 || exit 0",
            "--health-interval",
            "50ms",
            "--health-retries",
            "1",
        )
        id = docker("run", "-d", "--name", "box", "--restart", "on-unhealthy:2", "--stop-timeout", "0", *health,
                    "busybox:test", "sleep", "600")  # fmt: skip
        await_event(told, "health_status: healthy", id)
        docker("exec", "box", "touch", "/ill")
        await_event(told, "health_status: unhealthy", id)
        await_event(told, "die", id)
        await_event(told, "start", id)
        await_event(told, "health_status: unhealthy", id)
        await_event(told, "start", id)
        await_event(told, "health_status: unhealthy", id)
    shown = json.loads(docker("inspect", "box"))[0]
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-unhealthy", "MaximumRetryCount": 2}
    assert (shown["RestartCount"], shown["State"]["Running"]) == (2, True)
    assert "(unhealthy)" in docker("ps", "--format", "{{.Status}}")


@pytest.mark.parametrize("name", ["docker", "sampan"])
def test_a_wait_says_when_the_daemon_ends(engine: Engine, name: str) -> None:
    run(engine, "box")
    client = Client(name, engine)
    waiting = client.spawn("wait", "box")
    assert eventually(lambda: "container_wait" in [job["Name"] for job in engine.get("/jobs")])
    engine.stop()
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (1, "")
    assert err
    engine.start()
    client.close()


def test_unless_stopped_remembers(engine: Engine) -> None:
    policy = {"RestartPolicy": {"Name": "unless-stopped"}}
    for name in ("stopped", "killed"):
        run(engine, name, host=policy)
    call(engine, "POST", "/containers/stopped/stop?t=0")
    pid = state_of(engine, "killed")["Pid"]
    engine.kill()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    engine.start()
    assert eventually(lambda: state_of(engine, "killed")["Pid"] not in (0, pid))
    assert state_of(engine, "stopped")["Status"] == "exited"


def test_docker_prunes_and_is_told_what_that_frees(engine: Engine) -> None:
    docker = Client("docker", engine)
    docker("run", "--name", "box", "busybox:test", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=3")
    create(engine, "made")
    said = docker("container", "prune", "-f")
    assert said.startswith("Deleted Containers:\n")
    assert "Total reclaimed space: 3.1" in said
    assert engine.get("/containers/json?all=1") == []
