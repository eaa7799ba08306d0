"""The engines to measure, each through its usual client."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.support.engines import BIN_DIR, Engine, Sampand, UnixConnection

PODMAN_CONFIG = """
[network]
network_config_dir = "{root}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{root}/tmp"
"""


class HostDockerd(Engine):
    """dockerd in the bench's namespaces, like the others."""

    name = "dockerd"

    def command(self) -> list[str]:
        return ["dockerd", "--log-level", "warn", *self.common_flags()]


@dataclass(frozen=True)
class Memory:
    """The memory of the engine's own processes, without those of containers (proportional set size)."""

    bytes: int
    processes: tuple[str, ...]


class Subject:
    """One engine under measurement."""

    name: ClassVar[str]
    run_flags: ClassVar[tuple[str, ...]] = ()

    def __init__(self, root: Path) -> None:
        self.root = root

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the engine, keeping its state on disk."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop the engine and remove its state."""
        raise NotImplementedError

    def fresh(self, root: Path) -> "Subject":
        """An empty instance of the same engine, next to this one."""
        return type(self)(root)

    def client(self, *words: str) -> list[str]:
        """The command line of the client."""
        raise NotImplementedError

    def cold_start(self) -> list[str]:
        """The command whose startup time is measured: the engine's own client printing its version."""
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    def connect(self) -> UnixConnection | None:
        """A connection to the engine's API; `None` for an engine without a daemon."""
        return None

    def do(self, *words: str) -> str:
        done = subprocess.run(self.client(*words), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def run_words(self, *words: str) -> tuple[str, ...]:
        return ("run", *self.run_flags, *words)

    def pull_words(self, reference: str) -> tuple[str, ...]:
        return ("pull", "--quiet", reference)

    def push_words(self, reference: str) -> tuple[str, ...]:
        return ("push", "--quiet", reference)

    def memory(self) -> Memory:
        pids = sorted(own_processes(self.root, self.daemon_pid()))
        return Memory(sum(map(proportional_bytes, pids)), tuple(map(process_name, pids)))

    def daemon_pid(self) -> int | None:
        return None


class DaemonSubject(Subject):
    """sampand or dockerd, through the same docker client."""

    engine_class: ClassVar[type[Engine]]

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        super().__init__(root)
        self.engine = self.engine_class(root, flags)

    def start(self) -> None:
        self.engine.start()

    def stop(self) -> None:
        self.engine.stop()

    def close(self) -> None:
        self.engine.close()

    def client(self, *words: str) -> list[str]:
        return ["docker", "-H", self.engine.host, *words]

    def cold_start(self) -> list[str]:
        return self.client("version")

    def version(self) -> str:
        return str(self.engine.get("/version")["Version"])

    def connect(self) -> UnixConnection:
        return UnixConnection(self.engine.socket)

    def daemon_pid(self) -> int | None:
        return self.engine.process.pid if self.engine.process else None


class SampandSubject(DaemonSubject):
    name = "sampand"
    engine_class = Sampand

    def cold_start(self) -> list[str]:
        return [str(BIN_DIR / "sampan"), "-H", self.engine.host, "version"]


class DockerdSubject(DaemonSubject):
    name = "dockerd"
    engine_class = HostDockerd

    def fresh(self, root: Path) -> Subject:
        return DockerdSubject(root, ["--bridge", "none", "--iptables=false"])  # docker0 belongs to the other instance


class PodmanSubject(Subject):
    """podman through its own client, with the same runtime, and limits that don't require CAP_SYS_RESOURCE."""

    name = "podman"
    run_flags = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")

    def start(self) -> None:
        config = self.root / "containers.conf"
        config.write_text(PODMAN_CONFIG.format(root=self.root))
        os.environ["CONTAINERS_CONF"] = str(config)  # ignored by the others

    def close(self) -> None:
        self.do("rm", "--force", "--all", "--time", "0")
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def stop(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # podman leaves its storage bind-mounted on itself
            subprocess.run(["umount", "--lazy", self.root / "storage/overlay"], check=False, capture_output=True)

    def client(self, *words: str) -> list[str]:
        roots = ["--root", str(self.root / "storage"), "--runroot", str(self.root / "run"), "--runtime", "runc"]
        return ["podman", *roots, *words]

    def cold_start(self) -> list[str]:
        return self.client("version")

    def version(self) -> str:
        return self.do("version", "--format", "{{.Client.Version}}")

    def pull_words(self, reference: str) -> tuple[str, ...]:
        return ("pull", "--quiet", "--tls-verify=false", reference)

    def push_words(self, reference: str) -> tuple[str, ...]:
        return ("push", "--quiet", "--tls-verify=false", reference)


SUBJECTS: dict[str, type[Subject]] = {
    subject.name: subject for subject in (SampandSubject, DockerdSubject, PodmanSubject)
}


def own_processes(root: Path, daemon_pid: int | None) -> Iterator[int]:
    """The daemon, its descendants, and monitors elsewhere that name `root`, but not the containers' processes."""
    family = set() if daemon_pid is None else {daemon_pid, *descendants(daemon_pid)}
    here = Path("/proc/self/ns/pid").readlink()
    for pid in all_pids():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            monitors = any(str(root).encode() in word for word in command)
            if (pid in family or monitors) and Path(f"/proc/{pid}/ns/pid").readlink() == here:
                yield pid


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def all_pids() -> Sequence[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def proportional_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def process_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
