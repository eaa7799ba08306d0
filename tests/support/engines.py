"""Engines of one's own: a sampand or a dockerd with its own directories, socket and network."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sampan.config import DaemonConfig
from tests.support.processes import end, start_notifying, tail

BIN_DIR = Path(sys.executable).parent


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket, for requests that no client program makes."""

    def __init__(self, path: Path, timeout_s: float = 240) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Engine:
    """A daemon that listens on `socket`; everything of it is below `root`, which must be short (108 bytes in all)."""

    name: ClassVar[str]

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        self.root = root
        self.flags = list(flags)
        self.data_root, self.exec_root = root / "data", root / "exec"
        self.socket, self.pid_file, self.log = root / "s", root / "pid", root / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def marks(self) -> list[str]:
        """Texts by which what the engine leaves on the host can be told from what is others'."""
        return [str(self.root)]

    @property
    def host(self) -> str:
        """What goes after -H."""
        return f"unix://{self.socket}"

    @property
    def prefix(self) -> list[str]:
        """The words before a command that is to see the engine's network."""
        return []

    def command(self) -> list[str]:
        raise NotImplementedError

    def common_flags(self) -> list[str]:
        return [
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("-H", self.host, "--pidfile", str(self.pid_file), *self.flags),
        ]

    def start(self) -> None:
        """Return when it answers; raises `StartFailed` with the end of its log."""
        self.process = start_notifying(self.command(), self.log, notify=self.root / "n")

    def kill(self) -> None:
        """What the out-of-memory killer does: SIGKILL, the containers run on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End the daemon; its containers may run on."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def close(self) -> None:
        """Remove the containers, end the daemon and remove what it kept. A daemon that died is started once more."""
        try:
            if self.process is not None and self.process.poll() is not None:
                self.start()
            self.remove_containers()
        finally:
            self.stop()
            shutil.rmtree(self.root, ignore_errors=True)

    def remove_containers(self) -> None:
        """Remove them all. One that is being removed already is waited for."""
        for container in self.get("/containers/json?all=1"):
            status, _ = self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            if status == 409:
                self.request("POST", f"/containers/{container['Id']}/wait?condition=removed")

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body."""
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            content = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path: str) -> Any:
        status, body = self.request("GET", path)
        assert status == 200, f"GET {path} answered {status}: {body.decode()}"
        return json.loads(body)

    def curl(self, url: str) -> str:
        """The body at `url` as seen from the engine's network; tries again while nobody listens yet."""
        command = ["curl", "-sS", "--fail", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", url]
        return subprocess.run([*self.prefix, *command], check=True, capture_output=True, text=True).stdout

    def log_tail(self) -> str:
        return tail(self.log)


class Sampand(Engine):
    """The daemon of this checkout, in the host's network."""

    name = "sampand"

    @property
    def marks(self) -> list[str]:
        return [*super().marks, self.instance]

    @property
    def instance(self) -> str:
        return DaemonConfig(data_root=self.data_root).instance

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.forget()

    def forget(self) -> None:
        """Remove what a daemon that did not end in peace has left: its bridge, its table, its slice."""
        for bridge in Path("/sys/class/net").glob(f"spn-{self.instance}*/bridge"):
            subprocess.run(["ip", "link", "del", bridge.parent.name], check=True)
        subprocess.run(
            ["nft", "delete", "table", "inet", f"sampan_{self.instance}"], check=False, capture_output=True
        )
        for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):  # v2 alone, or beside v1
            if (root / "cgroup.controllers").exists() and (root / f"sampan-{self.instance}").exists():
                (root / f"sampan-{self.instance}").rmdir()

    def command(self) -> list[str]:
        return [str(BIN_DIR / "sampand"), *self.common_flags()]


class Dockerd(Engine):
    """Debian's dockerd, in a network namespace of its own, with which the chains and bridges it leaves go away."""

    name = "dockerd"

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        super().__init__(root, flags)
        self.netns = f"dockerd-{os.getpid()}-{root.name}"

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}"]

    def command(self) -> list[str]:
        return [*self.prefix, "dockerd", *self.common_flags()]

    def start(self) -> None:
        if not Path("/run/netns", self.netns).exists():
            subprocess.run(["ip", "netns", "add", self.netns], check=True)
            subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        super().start()

    def stop(self) -> None:
        super().stop()
        host_network = self.exec_root / "netns/default"  # its mark of the host's network stays mounted
        if os.path.ismount(host_network):  # pathlib says no for a file
            subprocess.run(["umount", str(host_network)], check=True)

    def close(self) -> None:
        try:
            super().close()
        finally:
            subprocess.run(["ip", "netns", "del", self.netns], check=True)


ENGINES: dict[str, type[Engine]] = {"sampand": Sampand, "dockerd": Dockerd}


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    """Start `engine`, and leave nothing of it behind."""
    engine.root.mkdir(parents=True, exist_ok=True)
    engine.start()
    try:
        yield engine
    finally:
        engine.close()
