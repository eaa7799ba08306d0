"""The packaged units under a real systemd, as documented in `docs/operations.md`."""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SESSION_MARK, Archives
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import BIN_DIR, Engine
from tests.support.systemd import BINARY, Systemd
from tests.vm.conftest import CGROUPS, NEEDED
from tests.vm.test_unified import IMAGE, PATIENCE_S, state_of

PACKAGING = Path(__file__).parents[2] / "packaging"
SERVICE, SOCKET = "sampand.service", "sampand.socket"
OWN_PROGRAM = f"[Service]\nExecStart=\nExecStart={BIN_DIR}/sampand -H fd://\n"
LIMITS = ("-m", "64m", "--pids-limit", "50")
SUBGROUP_SINCE = 254
MONITOR = "conmon"
EXPECTED_WARNINGS = (
    r".*Unknown key (name )?'DelegateSubgroup'",  # an older systemd
    r".*Found left-over process \d+ \((conmon|sleep)\) in control group while starting unit",  # KillMode=process
    ".*This usually indicates unclean termination of a previous run",
    "Failed to send readiness notification",  # systemd's own, to this test, which reads only the first
)

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not BINARY.exists(), reason=f"systemd is not installed: there is no {BINARY}"),
    pytest.mark.skipif(shutil.which("nsenter") is None, reason="util-linux's nsenter is not installed"),
]


class PackagedSampand(Engine):
    """The service from the packaged units, with its files where the units put them."""

    name = "sampand"

    def __init__(self, systemd: Systemd) -> None:
        super().__init__(systemd.root)
        self.systemd = systemd
        self.data_root, self.exec_root = systemd.root / "lib/sampan", systemd.root / "run/sampan"
        self.socket = self.exec_root / "sampan.sock"

    @property
    def unit(self) -> Path:
        """The cgroup that systemd delegated."""
        return self.systemd.cgroup / "system.slice" / SERVICE

    @property
    def slice(self) -> Path:
        """The daemon's only slice."""
        (path,) = [path for path in self.systemd.groups() if re.fullmatch("sampan-[0-9a-f]{8}", path.name)]
        return path

    @property
    def main_pid(self) -> int:
        return int(self.systemd.property(SERVICE, "MainPID"))

    def is_active(self) -> bool:
        return self.systemd.property(SERVICE, "ActiveState") == "active"

    def cgroup_of(self, pid: int | str) -> Path:
        """`pid` is in systemd's pid namespace, as reported by the API."""
        return self.systemd.cgroup / self.systemd("cat", f"/proc/{pid}/cgroup").removeprefix("0::/")


@pytest.fixture(scope="module")
def systemd(session_dir: Path) -> Iterator[Systemd]:
    controllers = [f"+{word}" for word in (CGROUPS / "cgroup.controllers").read_text().split()]
    (CGROUPS / "cgroup.subtree_control").write_text(" ".join(controllers))
    root = Path(tempfile.mkdtemp(prefix="i", dir=session_dir))
    systemd = Systemd(root, CGROUPS / f"{SESSION_MARK}init", "sampan")
    systemd.add(PACKAGING / SERVICE, OWN_PROGRAM)
    systemd.add(PACKAGING / SOCKET)
    try:
        systemd.start()
        yield systemd
    finally:
        systemd.stop()


@pytest.fixture
def engine(systemd: Systemd, archives: Archives) -> Iterator[PackagedSampand]:
    """Started by its first request. Once its socket is stopped, it must leave nothing in the kernel."""
    engine = PackagedSampand(systemd)
    systemd("systemctl", "enable", "--now", SOCKET)
    Client("docker", engine)("load", "--input", str(archives.busybox), timeout_s=240)
    yield engine
    engine.remove_containers()
    systemd("systemctl", "disable", SERVICE, SOCKET)
    systemd("systemctl", "stop", SOCKET)  # the service requires it, so it stops too
    kept = {systemd.cgroup / name for name in ("init.scope", "system.slice", "system.slice/systemd-journald.service")}
    assert set(systemd.groups()) == kept
    assert "/sampan/" not in systemd("cat", "/proc/self/mountinfo")
    assert systemd("nft", "list", "tables") == ""
    assert systemd("ls", "/sys/class/net") == "lo"


@pytest.fixture
def docker(engine: PackagedSampand) -> Client:
    return Client("docker", engine)


def test_the_service_is_active_and_its_files_and_cgroups_are_where_they_belong(
    engine: PackagedSampand, docker: Client
) -> None:
    systemd = engine.systemd
    assert engine.is_active()
    _check_access(engine)
    id = docker("run", "-d", "--name", "web", *LIMITS, IMAGE, "sleep", "600")
    group = engine.cgroup_of(state_of(engine, "web")["Pid"])
    has_subgroup = systemd.version() >= SUBGROUP_SINCE
    assert engine.slice.parent == (engine.unit if has_subgroup else systemd.cgroup)
    assert group == engine.slice / id
    own = engine.unit / "sampan.daemon" if has_subgroup else engine.unit
    assert {engine.cgroup_of(pid) for pid in (engine.main_pid, systemd("pgrep", "-x", MONITOR))} == {own}
    assert [(group / file).read_text() for file in ("memory.max", "pids.max")] == [f"{64 << 20}\n", "50\n"]
    for path in (systemd.cgroup / "system.slice", engine.slice):
        assert set((path / "cgroup.subtree_control").read_text().split()) >= NEEDED
    inner = [path for path in systemd.groups() if any(child.is_dir() for child in path.iterdir())]
    assert [path for path in inner if (path / "cgroup.procs").read_text()] == []
    assert "sleep 600" in systemd("systemd-cgls")
    assert ("sleep 600" in systemd("systemctl", "status", SERVICE)) == has_subgroup
    assert not re.search("NOTIFY|LISTEN", docker("exec", "web", "env"))


def test_containers_outlive_a_restart_a_reload_and_a_stop(engine: PackagedSampand, docker: Client) -> None:
    systemd = engine.systemd
    docker("run", "-d", "--name", "web", *LIMITS, IMAGE, "sleep", "600")
    docker("run", "-d", "--name", "brief", IMAGE, "sleep", "601")
    pid, group, daemon = state_of(engine, "web")["Pid"], engine.slice, engine.main_pid
    systemd("systemctl", "reload", SERVICE)
    systemd("systemctl", "daemon-reload")
    assert engine.main_pid == daemon
    systemd("systemctl", "restart", SERVICE)
    assert engine.is_active()
    assert engine.main_pid != daemon
    assert (state_of(engine, "web")["Pid"], engine.slice) == (pid, group)
    assert docker("exec", "web", "cat", "/proc/self/cgroup") == "0::/"
    docker("update", "--pids-limit", "60", "web")
    assert (engine.cgroup_of(pid) / "pids.max").read_text() == "60\n"
    seen = docker("run", "--rm", "-m", "32m", IMAGE, "cat", "/sys/fs/cgroup/memory.max")
    assert seen == str(32 << 20)
    systemd("systemctl", "stop", SERVICE)
    assert systemd.property(SERVICE, "ActiveState") == "inactive"
    assert systemd("cat", f"/proc/{pid}/comm") == "sleep"
    systemd("pkill", "-KILL", "-f", "^sleep 601")
    docker("wait", "brief", timeout_s=PATIENCE_S)  # the request starts the daemon
    assert engine.is_active()
    assert (state_of(engine, "web")["Pid"], state_of(engine, "brief")["ExitCode"]) == (pid, 137)
    assert [line for line in systemd.warnings() if not re.match("|".join(EXPECTED_WARNINGS), line)] == []


@pytest.mark.slow
def test_a_killed_daemon_is_started_again_and_a_containers_oom_kill_is_no_fault_of_its(
    engine: PackagedSampand, docker: Client
) -> None:
    docker("run", "-d", "--name", "web", *LIMITS, IMAGE, "sleep", "600")
    pid, daemon = state_of(engine, "web")["Pid"], engine.main_pid
    hungry = ("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    docker("run", "-d", "--name", "hungry", "-m", "16m", "--memory-swap", "16m", IMAGE, *hungry)
    assert docker("wait", "hungry", timeout_s=PATIENCE_S) == "137"
    assert state_of(engine, "hungry")["OOMKilled"] is True
    assert (engine.is_active(), engine.main_pid) == (True, daemon)
    engine.systemd("kill", "-KILL", str(daemon))
    assert eventually(lambda: engine.main_pid not in (0, daemon) and engine.is_active(), PATIENCE_S)
    assert state_of(engine, "web")["Pid"] == pid


@pytest.mark.slow
def test_containers_with_a_restart_policy_are_back_after_a_reboot_without_any_request(
    engine: PackagedSampand, docker: Client
) -> None:
    systemd = engine.systemd
    systemd("systemctl", "enable", SERVICE)
    docker("run", "-d", "--name", "web", "--restart", "always", *LIMITS, IMAGE, "sleep", "600")
    docker("run", "-d", "--name", "once", IMAGE, "sleep", "601")
    systemd.stop()
    systemd.start()
    assert eventually(lambda: "sleep 600" in systemd("systemd-cgls"), PATIENCE_S)
    assert engine.is_active()
    assert (engine.cgroup_of(state_of(engine, "web")["Pid"]) / "pids.max").read_text() == "50\n"
    assert state_of(engine, "once")["Running"] is False


def _check_access(engine: PackagedSampand) -> None:
    """Root and the group may connect; others can't even list the directories."""
    gid = int(engine.systemd("getent", "group", "sampan").split(":")[2])
    socket = engine.socket.stat()
    assert (stat.S_IMODE(socket.st_mode), socket.st_uid, socket.st_gid) == (0o660, 0, gid)
    assert stat.S_IMODE(engine.exec_root.stat().st_mode) == 0o711
    assert stat.S_IMODE(engine.data_root.stat().st_mode) == 0o710
