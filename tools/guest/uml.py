"""User Mode Linux: a kernel that is a process, and so needs no virtualisation of the host.

Facts: kernel Documentation/virt/uml/user_mode_linux_howto_v2.rst.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from tools.guest import boot
from tools.guest.console import Line

KERNEL = "SAMPAN_UML_KERNEL"

_INIT = r"""
$B mount -t proc proc /proc
$B mount -t tmpfs -o size=75% tmpfs "$T"
$B mkdir -p "$T/lower" "$T/root"
$B mount -t devtmpfs dev /dev
. "$W/config"
$B mount --bind / "$T/lower"
"""

_SWITCH = r"""
$B stty -F "$CONTROL" raw -echo
$B stty -F "$OUTPUT" raw -echo
$B mount -t sysfs sys "$T/root/sys"
$B mount -t proc proc "$T/root/proc"
$B mount --move /dev "$T/root/dev"
cd "$T/root"
$B mkdir -p run/guest/host
$B pivot_root . run/guest/host
exec /run/guest/busybox chroot . /run/guest/busybox sh /run/guest/session
"""


def find_kernel() -> Path | None:
    """The one the environment names, or `tools/guest/build-uml` built. Debian's own has no PSI and no nft NAT."""
    built = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sampan/linux.uml")
    named = [Path(os.environ[KERNEL])] if os.environ.get(KERNEL) else []
    return next((path.resolve() for path in (*named, built) if os.access(path, os.X_OK)), None)


def machine(kernel: Path, words: Sequence[str], cwd: Path, work: Path, lines: tuple[Line, Line]) -> list[str]:
    """The command that boots `kernel` with what is written into `work`."""
    busybox = _busybox()
    (work / "mnt").mkdir()
    devices = {"OUTPUT": "/dev/ttyS0", "CONTROL": "/dev/ttyS1"}
    (work / "config").write_text(boot.config(devices, cwd))
    (work / "session").write_text(boot.SESSION)
    (work / "command").write_text(boot.command(words, cwd, engine="uml"))
    init = work / "init"
    init.write_text(f"#!{busybox} sh\nB={busybox} T={work}/mnt W={work}\n{_INIT}{boot.ROOT}{_SWITCH}")
    init.chmod(0o755)
    arguments = [
        *(str(kernel), "mem=4G", "root=none", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"),
        *(f"uml_dir={work}", "umid=guest", "con=none", "con0=null,fd:1", "ssl=none"),
        *(f"ssl{number}=fd:{line.fd}" for number, line in enumerate(lines)),
        *("quiet", "panic=-1", "psi=1", "cgroup_no_v1=all"),
    ]
    return [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        _shut_in(arguments, work),
    ]


def _shut_in(arguments: Sequence[str], work: Path) -> str:
    """The guest's root could mount the host's files once more: all that it can reach of them is read-only."""
    return f"""
    mount --make-rprivate / && mount --bind {work} {work} || exit
    findmnt --raw --noheadings --real --output TARGET | while read -r target; do
        [ "$target" = {work} ] || mount -o remount,bind,ro "$target" || exit
    done
    exec {shlex.join(arguments)}
    """


def _busybox() -> str:
    return os.path.realpath(shutil.which("busybox") or "/bin/busybox")
