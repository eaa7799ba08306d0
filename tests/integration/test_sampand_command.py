"""How sampand starts and detaches: on a systemd socket, in the background, and only to check its configuration."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import pytest

from tests.support.containers import IMAGE, call, eventually, run, send
from tests.support.engines import BIN_DIR, Engine, Sampand, UnixConnection, running
from tests.support.images import busybox_archive

pytestmark = pytest.mark.root
SAMPAND = BIN_DIR / "sampand"
NOBODY_ELSE = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, 0xFFFFFFFF) for tag, rights in ((1, 7), (4, 5), (0x20, 0))
)  # u::rwx,g::r-x,o::--- (include/uapi/linux/posix_acl_xattr.h)
LAUNCHER = """
import os, sys
listening, notify, *command = sys.argv[1:]
os.dup2(int(listening), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=notify)
os.execv(command[0], command)
"""  # what systemd does for a unit of Type=notify with a socket


@pytest.fixture
def engine(session_dir: Path, leak_marks: list[str]) -> Iterator[Sampand]:
    """Its directories and name; not started."""
    engine = Sampand(Path(mkdtemp(prefix="x", dir=session_dir)))
    leak_marks.extend(engine.marks)
    yield engine
    engine.forget()


def flags(engine: Engine, *hosts: str) -> list[str]:
    roots = ["--data-root", str(engine.data_root), "--exec-root", str(engine.exec_root)]
    return [*roots, "--pidfile", str(engine.pid_file), *(word for host in hosts for word in ("-H", host))]


@contextmanager
def pidfd(pid: int) -> Iterator[int]:
    fd = os.pidfd_open(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def end(pid: int) -> None:
    """Send SIGTERM to a process that is not our child and wait for it to exit."""
    with pidfd(pid) as fd:
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        assert select.select([fd], [], [], 30)[0], "it does not end"


def told(notified: socket.socket) -> str:
    """The daemon's next notification to systemd."""
    notified.settimeout(60)
    return notified.recv(4096).decode()


def test_a_socket_that_systemd_opened_is_served_and_stays(engine: Sampand) -> None:
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        listening.bind(str(engine.socket))
        listening.listen()
        notified.bind(str(engine.root / "n"))
        words = [str(listening.fileno()), str(engine.root / "n"), str(SAMPAND), *flags(engine, "fd://")]
        with engine.log.open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, *words], pass_fds=[listening.fileno()], stdout=log, stderr=log
            )
        try:
            assert told(notified) == "READY=1"
            assert engine.get("/info")["DockerRootDir"] == str(engine.data_root)
        finally:
            daemon.terminate()
            status = daemon.wait(30)
        assert told(notified) == "STOPPING=1"
        assert (status, engine.socket.is_socket()) == (0, True)  # systemd keeps it for the next start


def test_without_systemds_sockets_fd_is_refused_in_a_sentence(engine: Sampand) -> None:
    done = subprocess.run([SAMPAND, *flags(engine, "fd://")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("\nsampand: no sockets found: fd:// needs systemd's socket activation\n")


def test_a_changed_configuration_is_taken_over_at_sighup(session_dir: Path, leak_marks: list[str]) -> None:
    root = Path(mkdtemp(prefix="x", dir=session_dir))
    file = root / "daemon.json"
    file.write_text(json.dumps({"labels": ["deck=upper"]}))
    engine = Sampand(root, ("--config-file", str(file)))
    leak_marks.extend(engine.marks)
    with running(engine), closing(UnixConnection(engine.socket)) as watching:
        watching.request("GET", "/events?filters=" + quote('{"type":["daemon"]}'))
        events = watching.getresponse()
        changed = {"labels": ["deck=lower"], "debug": True, "registry-mirrors": ["https://mirror:5000"], "workers": 9}
        changed |= {"runtimes": {"other": {"path": "/usr/bin/true"}}, "log-opts": {"max-size": "1m"}}
        file.write_text(json.dumps(changed))
        hang_up(engine)
        event = json.loads(events.readline())
        attributes = event["Actor"]["Attributes"]
        assert (event["Type"], event["Action"]) == ("daemon", "reload")
        assert (
            attributes.items()
            >= {
                "labels": '["deck=lower"]',
                "debug": "true",
                "registry-mirrors": '["https://mirror:5000"]',
                "insecure-registries": "[]",
                "shutdown-timeout": "15",
            }.items()
        )
        told = engine.get("/info")
        assert (told["Labels"], told["Debug"], event["Actor"]["ID"]) == (["deck=lower"], True, told["ID"])
        assert told["RegistryConfig"]["Mirrors"] == ["https://mirror:5000/"]
        assert "other" not in told["Runtimes"]  # it was tried and does not work
        file.write_text("{")
        hang_up(engine)
        assert eventually(lambda: "the configuration is not changed: " in engine.log.read_text())
        assert engine.get("/info")["Labels"] == ["deck=lower"]
        assert "only after a restart of sampand: workers" in engine.log.read_text()


def hang_up(engine: Sampand) -> None:
    assert engine.process is not None
    engine.process.send_signal(signal.SIGHUP)


def test_detached_it_leaves_for_good(engine: Sampand) -> None:
    command: list[str | Path] = [SAMPAND, "--detach", "--log-file", engine.log, *flags(engine, engine.host)]
    started = subprocess.run(command, capture_output=True, text=True, check=False, cwd=engine.root, timeout=120)
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    pid = int(engine.pid_file.read_text())
    try:
        assert engine.request("GET", "/_ping") == (200, b"OK")  # at once: it is ready by then
        assert os.getsid(pid) == pid != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == [
            "/dev/null",
            str(engine.log),
            str(engine.log),
        ]
        os.kill(pid, signal.SIGHUP)  # as when its terminal is closed
        assert engine.request("GET", "/_ping") == (200, b"OK")
        assert_refused_a_second_time(engine, pid)
    finally:
        end(pid)
    assert not engine.pid_file.exists()
    assert not engine.socket.exists()


def test_its_umask_and_the_group_and_acl_of_its_data_root_do_not_reach_images(engine: Sampand) -> None:
    engine.data_root.mkdir()
    os.chown(engine.data_root, 0, 1)
    engine.data_root.chmod(0o2750)
    os.setxattr(engine.data_root, "system.posix_acl_default", NOBODY_ELSE)
    busybox_archive(archive := engine.root / "busybox.tar", IMAGE)
    command: list[str | Path] = [SAMPAND, "--detach", "--log-file", engine.log, *flags(engine, engine.host)]
    subprocess.run(command, check=True, cwd=engine.root, timeout=120, umask=0o077)
    try:
        assert send(engine, "/images/load", archive.read_bytes())[0] == 200
        shown = "touch /new; stat -c '%a %u:%g %n' / /bin /bin/busybox /etc/hosts /volume /new"
        id = run(engine, "looks", "sh", "-c", shown, host={"Binds": ["volume:/volume"]}, Tty=True)
        assert call(engine, "POST", f"/containers/{id}/wait")[1] == {"StatusCode": 0}
        assert engine.request("GET", f"/containers/{id}/logs?stdout=1")[1].decode().splitlines() == [
            "755 0:0 /",
            "755 0:0 /bin",
            "755 0:0 /bin/busybox",
            "644 0:0 /etc/hosts",
            "755 0:0 /volume",
            "644 0:0 /new",
        ]
        assert call(engine, "DELETE", f"/containers/{id}")[0] == 204
    finally:
        end(int(engine.pid_file.read_text()))


def assert_refused_a_second_time(engine: Sampand, pid: int) -> None:
    again: list[str | Path] = [
        SAMPAND,
        "--detach",
        "--data-root",
        engine.data_root,
        "--exec-root",
        engine.root / "exec2",
    ]
    again += ["--pidfile", engine.root / "pid2", "-H", f"unix://{engine.root}/s2", "--log-file", engine.root / "log2"]
    second = subprocess.run(again, capture_output=True, text=True, check=False, timeout=120)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(engine.data_root) in second.stderr
    assert engine.request("GET", "/_ping") == (200, b"OK")


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"log-level": "info"}, None),
        ({"storage-driver": "nowhere"}, "nowhere"),
        ({"log-level": "loud"}, "log-level"),
        ({"no-such-key": 1}, "no-such-key"),
        ("junk", "daemon.json"),
    ],
)
def test_validate_says_what_is_wrong_and_starts_nothing(
    engine: Sampand, config: object, complaint: str | None
) -> None:
    path = engine.root / "daemon.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    command: list[str | Path] = [SAMPAND, "--validate", "--config-file", path, *flags(engine, engine.host)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if complaint is None:
        assert (done.returncode, done.stdout) == (0, "configuration OK\n")
    else:
        assert done.returncode == 1
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert not engine.data_root.exists()


def test_the_units_say_what_the_daemon_does() -> None:
    units = Path(__file__).parents[2] / "packaging"
    service, activation = ((units / name).read_text() for name in ("sampand.service", "sampand.socket"))
    assert "Type=notify" in service
    assert "ExecStart=/opt/sampan/bin/sampand -H fd://" in service
    assert "ExecReload=/bin/kill -s HUP $MAINPID" in service
    assert "KillMode=process" in service  # containers outlive the daemon
    assert "ListenStream=/run/sampan/sampan.sock" in activation
