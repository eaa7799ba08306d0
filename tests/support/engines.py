"""Private engines for tests: a sampand or a dockerd with its own directories, socket and network."""

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
    """HTTP over a unix socket, for requests made without a client program."""

    def __init__(self, path: Path, timeout_s: float = 240) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Engine:
    """A daemon listening on `socket`; all its files are below `root`, whose path must be short (108 bytes in all)."""

    name: ClassVar[str]

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        self.root = root
        self.flags = list(flags)
        self.data_root, self.exec_root = root / "data", root / "exec"
        self.socket, self.pid_file, self.log = root / "s", root / "pid", root / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def marks(self) -> list[str]:
        """Substrings that identify what this engine leaves on the host."""
        return [str(self.root)]

    @property
    def host(self) -> str:
        """The value for a client's `-H`."""
        return f"unix://{self.socket}"

    @property
    def prefix(self) -> list[str]:
        """The command prefix that runs a command in the engine's network."""
        return []

    def command(self) -> list[str]:
        raise NotImplementedError

    def common_flags(self) -> list[str]:
        return [
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("-H", self.host, "--pidfile", str(self.pid_file), *self.flags),
        ]

    def start(self) -> None:
        """Start the daemon and return when it is ready; raises `StartFailed` with the end of its log."""
        self.process = start_notifying(self.command(), self.log, notify=self.root / "n")

    def kill(self) -> None:
        """SIGKILL the daemon, as the out-of-memory killer does; its containers keep running."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop the daemon; its containers may keep running."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def close(self) -> None:
        """Remove the containers, stop the daemon and remove its files. A daemon that died is restarted first."""
        try:
            if self.process is not None and self.process.poll() is not None:
                self.start()
            self.remove_containers()
        finally:
            self.stop()
            shutil.rmtree(self.root, ignore_errors=True)

    def remove_containers(self) -> None:
        """Remove all containers, waiting for those that are already being removed."""
        for container in self.get("/containers/json?all=1"):
            status, _ = self.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            if status == 409:
                self.request("POST", f"/containers/{container['Id']}/wait?condition=removed")

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Make one request on a new connection; returns status and body."""
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
        """The body at `url` as seen from the engine's network; retries while the connection is refused."""
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
        """Remove what a daemon that did not shut down cleanly has left: bridges, nftables table, cgroup."""
        for bridge in Path("/sys/class/net").glob(f"spn-{self.instance}*/bridge"):
            subprocess.run(["ip", "link", "del", bridge.parent.name], check=True)
        subprocess.run(
            ["nft", "delete", "table", "inet", f"sampan_{self.instance}"], check=False, capture_output=True
        )
        for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):  # v2 only, or hybrid
            if (root / "cgroup.controllers").exists() and (root / f"sampan-{self.instance}").exists():
                (root / f"sampan-{self.instance}").rmdir()

    def command(self) -> list[str]:
        return [str(BIN_DIR / "sampand"), *self.common_flags()]


class Dockerd(Engine):
    """Debian's dockerd in its own network namespace, whose deletion removes the chains and bridges it leaves."""

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
        host_network = self.exec_root / "netns/default"  # its bind mount of its network namespace outlives it
        if os.path.ismount(host_network):  # pathlib's is_mount() is false for a file
            subprocess.run(["umount", str(host_network)], check=True)

    def close(self) -> None:
        try:
            super().close()
        finally:
            subprocess.run(["ip", "netns", "del", self.netns], check=True)


ENGINES: dict[str, type[Engine]] = {"sampand": Sampand, "dockerd": Dockerd}


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    """Run `engine` for the context, and leave nothing of it behind."""
    engine.root.mkdir(parents=True, exist_ok=True)
    engine.start()
    try:
        yield engine
    finally:
        engine.close()
