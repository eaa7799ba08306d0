"""A private systemd: PID 1 of a pid namespace, with its own `/run`, network and cgroup root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.containers import eventually
from tests.support.processes import start_notifying

BINARY = Path("/lib/systemd/systemd")
_HOST_UNITS = BINARY.parent / "system"
_TARGETS = ("basic", "multi-user", "network-online", "shutdown", "sockets", "sysinit")
"""Targets that units' default dependencies need; none of the host's units hang on them here."""

_ENTER = """\
set -e
echo 0 >"$2/cgroup.procs"
exec unshare --cgroup sh -c '
    set -e
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
    mount --bind "$1/run" /run
    mount --bind "$1/lib" /var/lib
    mount --bind "$1/etc" /etc/systemd
    mount --bind "$1/group" /etc/group
    mount --make-rshared /
    exec env -i "PATH=$PATH" "NOTIFY_SOCKET=$NOTIFY_SOCKET" container=test \\
        SYSTEMD_UNIT_PATH=/etc/systemd/system "$3" --system --unit=multi-user.target --show-status=no
' sh "$@"
"""
"""The child enters the cgroup, not its parent: systemd can enable controllers only if it is alone there."""

_JOURNAL_CONFIG = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n"
_JOURNAL_UNIT = """\
[Unit]
DefaultDependencies=no
Requires=systemd-journald.socket
After=systemd-journald.socket
Before=sysinit.target

[Service]
Type=notify
ExecStart=/lib/systemd/systemd-journald
StandardOutput=null
FileDescriptorStoreMax=4224
"""
"""Debian's unit without its seccomp filters and restrictions, which not every kernel under test supports."""


class Systemd:
    """Runs the unit files that are added before `start`; all its files are below `root`, its processes in `cgroup`.

    Inside, `/run`, `/var/lib` and `/etc/systemd` are `root/run`, `root/lib` and `root/etc`: its sockets are reachable
    from outside, and nothing of the host's is read or written there. `group` need not exist on the host.
    """

    def __init__(self, root: Path, cgroup: Path, group: str) -> None:
        self.root, self.cgroup = root, cgroup
        self._units = root / "etc/system"
        self._process: subprocess.Popen[bytes] | None = None
        for directory in (root / "lib", self._units / "sysinit.target.wants"):
            directory.mkdir(parents=True)
        for unit in (*(f"{name}.target" for name in _TARGETS), "systemd-journald.socket"):
            shutil.copy(_HOST_UNITS / unit, self._units)
        (root / "etc/journald.conf").write_text(_JOURNAL_CONFIG)
        (self._units / "systemd-journald.service").write_text(_JOURNAL_UNIT)
        (self._units / "sysinit.target.wants/systemd-journald.service").symlink_to("../systemd-journald.service")
        (root / "group").write_text(f"{Path('/etc/group').read_text()}{group}:x:{_free_gid()}:\n")

    def add(self, unit: Path, drop_in: str = "") -> None:
        """Add a unit file unchanged; what must differ in a test goes into the drop-in."""
        shutil.copy(unit, self._units)
        if drop_in:
            directory = self._units / f"{unit.name}.d"
            directory.mkdir()
            (directory / "test.conf").write_text(drop_in)

    def start(self) -> None:
        """Boot; return once all enabled units have been started. Raises `StartFailed`."""
        (self.root / "run").mkdir()
        self.cgroup.mkdir()
        unshare = ["unshare", "--pid", "--mount", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
        words = [*unshare, "sh", "-c", _ENTER, "sh", str(self.root), str(self.cgroup), str(BINARY)]
        self._process = start_notifying(words, self.root / "log", notify=self.root / "n")

    def stop(self) -> None:
        """Stop as a power failure would: all its processes die, and `/run` is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self.cgroup.is_dir():
            assert eventually(lambda: "populated 0" in (self.cgroup / "cgroup.events").read_text(), 30)
            for directory in [*self.groups()[::-1], self.cgroup]:
                directory.rmdir()
        shutil.rmtree(self.root / "run", ignore_errors=True)

    def groups(self) -> list[Path]:
        """All cgroups in it, parents before children."""
        return sorted(path for path in self.cgroup.rglob("*") if path.is_dir())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command alongside its services, whatever its exit status."""
        pid = (self.cgroup / "init.scope/cgroup.procs").read_text().split()[0]
        environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": "/etc/systemd/system", "SYSTEMD_PAGER": ""}
        inside = ["nsenter", "--target", pid, "--all", *words]
        return subprocess.run(inside, env=environment, capture_output=True, text=True, check=False, timeout=240)

    def __call__(self, *words: str) -> str:
        """Run a command that must succeed; returns its output."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")

    def property(self, unit: str, name: str) -> str:
        return self("systemctl", "show", "--value", "--property", name, unit)

    def warnings(self) -> list[str]:
        """What systemd itself has logged at warning level or above since it started."""
        return self("journalctl", "-q", "-o", "cat", "-p", "warning", "_PID=1").splitlines()

    def version(self) -> int:
        return int(self("systemctl", "--version").split()[1])


def _free_gid() -> int:
    taken = {int(line.split(":")[2]) for line in Path("/etc/group").read_text().splitlines()}
    return next(gid for gid in range(999, 0, -1) if gid not in taken)
