"""A container on a host with only cgroup v2: its limits hold, it sees them, and nothing of it is left behind."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sampan.testing.host import LeakCheck
from tests.compat.test_lifecycle import TRAP, await_log
from tests.compat.test_run import free_port
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import Engine, Sampand, UnixConnection
from tests.vm.conftest import CGROUPS

IMAGE = "busybox:test"
PATIENCE_S = 90
"""Without hardware virtualization, a guest kernel needs seconds to start a program."""


def slice_of(engine: Sampand) -> Path:
    return CGROUPS / f"sampan-{engine.instance}"


def state_of(engine: Engine, name: str) -> dict[str, Any]:
    state: dict[str, Any] = engine.get(f"/containers/{name}/json")["State"]
    return state


def cgroup_of(pid: int) -> Path:
    return CGROUPS / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def groups_below(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


def test_the_best_runtime_is_chosen_without_asking_and_info_warns_of_what_this_kernel_lacks(
    start_sampand: Callable[..., Sampand],
) -> None:
    engine = start_sampand()
    info = engine.get("/info")
    assert info["DefaultRuntime"] == ("crun" if shutil.which("crun") else "runc")
    has_cpusets = "cpuset" in (CGROUPS / "cgroup.controllers").read_text().split()  # User Mode Linux has none
    weighs_io = any((slice_of(engine) / file).exists() for file in ("io.weight", "io.bfq.weight"))  # nor these
    lacks = [] if has_cpusets else ["WARNING: No cpuset support"]
    lacks += [] if weighs_io else ["WARNING: No io.weight support"]
    assert (info["CgroupVersion"], info["Warnings"] or []) == ("2", lacks)
    assert all(info[name] for name in ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CPUShares", "PidsLimit"))
    assert re.findall("WARNING: .*", Client("docker", engine).run("info").stderr) == lacks


def test_output_and_exit_statuses_are_the_commands_own(docker: Client) -> None:
    assert docker("run", "--rm", IMAGE, "echo", "hi") == "hi"
    assert docker.run("run", "--rm", IMAGE, "sh", "-c", "exit 3").returncode == 3


@pytest.mark.parametrize("command", ["/etc/passwd", "/tmp"])
def test_what_is_no_program_is_126(docker: Client, command: str) -> None:
    done = docker.run("run", "--rm", IMAGE, command)
    assert (done.returncode, "permission denied" in done.stderr) == (126, True)


@pytest.mark.parametrize("command", ["nosuch", "/bin/nosuch"])
def test_a_command_that_is_not_there_is_127(docker: Client, command: str) -> None:
    done = docker.run("run", "--rm", IMAGE, command)
    assert done.returncode == 127
    assert re.search(r'exec: "(/bin/)?nosuch": (executable file not found in \$PATH|.*no such file)', done.stderr)


def test_a_killed_container_is_137(docker: Client) -> None:
    docker("run", "-d", "--name", "victim", IMAGE, "sleep", "600")
    docker("kill", "victim")
    assert docker("wait", "victim") == "137"


def test_a_container_sees_its_own_limits_and_no_cgroup_but_its_own(docker: Client) -> None:
    shown = docker(
        *("run", "--rm", "-m", "64m", "--memory-reservation", "32m", "--cpus", "0.5", "--pids-limit", "50"),
        *(IMAGE, "sh", "-c", "cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low cpu.max pids.max"),
    )
    assert shown.split() == ["67108864", "67108864", "33554432", "50000", "100000", "50"]
    assert docker("run", "--rm", IMAGE, "cat", "/proc/self/cgroup", "/sys/fs/cgroup/memory.max") == "0::/\nmax"


def test_a_container_may_not_change_its_cgroup(docker: Client) -> None:
    done = docker.run("run", "--rm", "-m", "64m", IMAGE, "sh", "-c", "echo max >/sys/fs/cgroup/memory.max")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_a_container_in_the_hosts_cgroup_namespace_sees_where_it_is(docker: Client, engine: Sampand) -> None:
    shown = docker("run", "--name", "outside", "--cgroupns", "host", IMAGE, "cat", "/proc/self/cgroup")
    id = engine.get("/containers/outside/json")["Id"]
    assert shown == f"0::/{slice_of(engine).name}/{id}"


def test_inspect_tells_the_limits(docker: Client) -> None:
    docker("create", "--name", "told", "-m", "64m", "--cpus", "0.5", "--pids-limit", "50", IMAGE, "true")
    told = json.loads(docker("inspect", "told"))[0]["HostConfig"]
    limits = (told["Memory"], told["MemorySwap"], told["NanoCpus"], told["PidsLimit"], told["CgroupnsMode"])
    assert limits == (64 << 20, 128 << 20, 500_000_000, 50, "private")


def test_a_container_over_its_memory_limit_is_killed_and_says_why(docker: Client, engine: Engine) -> None:
    since = time.time()
    docker(
        *("run", "-d", "--name", "hungry", "-m", "16m", "--memory-swap", "16m"),
        *(IMAGE, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"),
    )
    assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"
    state = state_of(engine, "hungry")
    assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 137, True)
    told = docker(
        *("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}"),
        *("--filter", "container=hungry", "--format", "{{.Action}}"),
    )
    assert [action for action in told.split() if action in ("oom", "die")] == ["oom", "die"]
    docker("start", "hungry")
    assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"


def test_an_oom_kill_that_the_container_outlives_is_told_when_it_happens(docker: Client, engine: Engine) -> None:
    hungry = "until [ -e /go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 600"
    docker("run", "-d", "--name", "hungry", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", hungry)
    with following(engine, container="hungry", event="oom") as told:
        docker("exec", "hungry", "touch", "/go")
        assert next(told)["Action"] == "oom"
    state = state_of(engine, "hungry")
    assert (state["Running"], state["OOMKilled"]) == (True, True)


def test_memory_high_slows_rather_than_kills_and_is_told(docker: Client, engine: Engine) -> None:
    high = ("--annotation", "sampan.cgroup.memory.high=8M", "--memory", "64m")
    docker("run", "-d", "--name", "slow", *high, IMAGE, "sh", "-c", "cat /sys/fs/cgroup/memory.high; sleep 600")
    await_log(docker, "slow", "8388608")
    with following(engine, container="slow", event="memory_high") as told:
        docker("exec", "-d", "slow", "dd", "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1")
        assert next(told)["Action"] == "memory_high"
    assert state_of(engine, "slow")["OOMKilled"] is False


def test_an_alert_of_pressure_becomes_an_event(docker: Client, engine: Engine) -> None:
    if not (CGROUPS / "cpu.pressure").exists():
        pytest.skip("this kernel has no pressure stall information")
    busy = " & ".join(["while :; do :; done"] * ((os.cpu_count() or 1) + 1))  # one more than there are CPUs
    alert = ("--annotation", "sampan.psi-alert=cpu:some:50ms/1s")
    with following(engine, event="pressure") as told:
        docker("run", "-d", "--name", "pressed", *alert, IMAGE, "sh", "-c", busy)
        attributes = next(told)["Actor"]["Attributes"]
    assert (attributes["name"], attributes["resource"], attributes["kind"]) == ("pressed", "cpu", "some")


def test_an_unknown_control_file_is_refused_before_anything_is_made(docker: Client, engine: Engine) -> None:
    done = docker.run("create", "--annotation", "sampan.cgroup.memory.hihg=1", IMAGE, "true")
    assert "'memory.hihg' is not a control file that can be set" in done.stderr
    assert engine.get("/containers/json?all=1") == []


@contextmanager
def following(engine: Engine, **wanted: str) -> Iterator[Iterator[dict[str, Any]]]:
    """Events from now on that match the filters."""
    filters = quote(json.dumps({name: [value] for name, value in wanted.items()}))
    with closing(UnixConnection(engine.socket)) as connection:
        connection.request("GET", f"/events?filters={filters}")
        with connection.getresponse() as answer:
            yield (json.loads(line) for line in answer)


def test_a_busy_container_is_throttled_to_its_quota(docker: Client) -> None:
    until_throttled = "until grep -q '^nr_throttled [1-9]' /sys/fs/cgroup/cpu.stat; do :; done; echo throttled"
    assert docker("run", "--rm", "--cpus", "0.2", IMAGE, "sh", "-c", until_throttled) == "throttled"


def test_devices_that_were_not_asked_for_cannot_be_opened(docker: Client) -> None:
    done = docker.run("run", "--rm", IMAGE, "sh", "-c", "echo x >/dev/null && mknod /node b 7 0 && cat /node")
    assert (done.returncode, "Operation not permitted" in done.stderr) == (1, True)
    shown = docker("run", "--rm", "--device", "/dev/loop0:/dev/mine", IMAGE, "ls", "/dev/mine") if _has_loop() else ""
    assert shown in ("", "/dev/mine")


def _has_loop() -> bool:
    return Path("/dev/loop0").exists()


def test_an_exec_is_in_the_containers_cgroup_and_has_a_status_of_its_own(docker: Client) -> None:
    docker("run", "-d", "--name", "box", "-m", "64m", IMAGE, "sleep", "600")
    assert docker("exec", "box", "cat", "/proc/self/cgroup", "/sys/fs/cgroup/memory.max") == "0::/\n67108864"
    assert docker.run("exec", "box", "sh", "-c", "exit 5").returncode == 5
    assert docker.run("exec", "-i", "box", "cat", stdin="through\n").stdout == "through\n"
    with docker.terminal("exec", "-it", "box", "sh") as terminal:
        terminal.send("stty size; exit 6\n")
        terminal.expect(r"24 80", timeout_s=PATIENCE_S)
        assert terminal.wait(PATIENCE_S) == 6


def test_an_exec_that_cannot_start_does_not_keep_its_container_alive(docker: Client, engine: Sampand) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sleep", "600")
    assert docker.run("exec", "box", "nosuch").returncode == 127
    assert docker.run("exec", "box", "/etc/passwd").returncode == 126
    docker("kill", "box")
    assert docker("wait", "box") == "137"
    docker("rm", "box")
    assert groups_below(slice_of(engine)) == []


def test_what_an_exec_leaves_behind_is_waited_for_and_ends_with_the_container(
    docker: Client, engine: Sampand
) -> None:
    docker("run", "-d", "--name", "open", "--pid", "host", IMAGE, "sleep", "600")
    docker("exec", "open", "sh", "-c", "sleep 0.1 & sleep 600 &")
    docker("rm", "-f", "open")
    assert groups_below(slice_of(engine)) == []
    assert engine.process is not None
    pid = engine.process.pid
    assert eventually(lambda: not _zombies_of(pid), PATIENCE_S)


def _zombies_of(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [stat for child in children if ") Z " in (stat := _stat(child))]


def _stat(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # exited meanwhile
        return ""


def test_logs_are_followed_and_stop_asks_before_it_kills(docker: Client) -> None:
    docker("run", "-d", "--name", "polite", IMAGE, "sh", "-c", TRAP)
    await_log(docker, "polite", "up")
    docker("stop", "-t", "60", "polite")
    assert docker("wait", "polite") == "9"


def test_a_port_a_volume_and_a_limit_together(docker: Client, engine: Engine) -> None:
    port = free_port()
    docker("run", "--rm", "-v", "planks:/data", IMAGE, "sh", "-c", "echo three planks >/data/index.html")
    docker(
        *("run", "-d", "--name", "web", "-p", f"{port}:80", "-v", "planks:/data:ro", "-m", "32m"),
        *(IMAGE, "httpd", "-f", "-p", "80", "-h", "/data"),
    )
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"
    docker("rm", "-f", "web")
    docker("volume", "rm", "planks")


def test_limits_and_containers_outlive_a_killed_daemon(docker: Client, engine: Sampand) -> None:
    docker("run", "-d", "--name", "stays", "-m", "64m", IMAGE, "sleep", "600")
    docker("run", "-d", "--name", "ends", IMAGE, "sh", "-c", "sleep 1; exit 7")
    pid = state_of(engine, "stays")["Pid"]
    group = slice_of(engine) / engine.get("/containers/stays/json")["Id"]
    engine.kill()
    engine.start()
    assert (state_of(engine, "stays")["Running"], state_of(engine, "stays")["Pid"]) == (True, pid)
    assert (group / "memory.max").read_text() == "67108864\n"
    assert docker("exec", "stays", "cat", "/proc/self/cgroup") == "0::/"
    assert docker("wait", "ends") == "7"
    docker("stop", "-t", "0", "stays")
    assert docker("wait", "stays") == "137"
    assert eventually(lambda: not group.exists(), PATIENCE_S)  # it is removed after the answer


@pytest.mark.parametrize("driver", ["cgroups_v2", "none"])
def test_a_daemon_and_its_containers_leave_nothing(session_dir: Path, archives: Archives, driver: str) -> None:
    engine = Sampand(session_dir / driver, ["--resource-driver", driver])
    check = LeakCheck(engine.marks)
    engine.root.mkdir()
    try:
        engine.start()
        _use(Client("docker", engine), archives)
        engine.stop()
        check.assert_clean(deadline_s=PATIENCE_S)
    finally:
        engine.stop()


def _use(docker: Client, archives: Archives) -> None:
    docker("load", "--input", str(archives.busybox))
    docker("run", "--rm", "-p", f"{free_port()}:80", "-v", "/data", IMAGE, "true")
    docker("run", "-d", "--name", "box", IMAGE, "sleep", "600")
    docker("exec", "box", "true")
    assert docker.run("run", "--rm", IMAGE, "nosuch").returncode == 127
    docker("rm", "-f", "box")


def test_stats_tell_what_the_kernel_accounts(engine: Sampand, docker: Client) -> None:
    limits = ("--memory", "32m", "--pids-limit", "20", "--name", "weighed")
    docker("run", "-d", *limits, IMAGE, "sh", "-c", "sleep 1000 & sleep 1000")
    reading = engine.get("/containers/weighed/stats?stream=0&one-shot=1")
    memory = reading["memory_stats"]
    assert memory["limit"] == 32 << 20
    assert 0 < memory["usage"] <= 32 << 20
    assert memory["stats"]["anon"] > 0
    assert "inactive_file" in memory["stats"]
    assert reading["pids_stats"]["limit"] == 20
    assert 1 <= reading["pids_stats"]["current"] <= 3
    assert reading["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert reading["networks"]["eth0"]["rx_bytes"] >= 0
    shown = docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "weighed")
    assert re.fullmatch(r"[\d.]+[KM]iB / 32MiB [1-3]", shown)
    docker("rm", "-f", "weighed")
