"""User Mode Linux: a kernel that is a process, and so needs no virtualisation support of the host.

Source: kernel Documentation/virt/uml/user_mode_linux_howto_v2.rst.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tools.guest import boot
from tools.guest.console import Line

KERNEL = "SAMPAN_UML_KERNEL"
_RECIPE = ("build-uml", "uml.config")
_UMID = "guest"
_MAGIC, _VERSION, _REQUEST_BYTES = 0xCAFEBABE, 2, 512
_ANSWER_HEAD_BYTES, _ANSWER_BYTES, _ANSWER_S = 12, 4096, 5.0

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
    """The kernel named in the environment, or else the built one. Debian's own has no PSI and no nftables NAT."""
    named = [Path(os.environ[KERNEL])] if os.environ.get(KERNEL) else []
    return next((path.resolve() for path in (*named, built_kernel()) if os.access(path, os.X_OK)), None)


def built_kernel() -> Path:
    """Where `tools/setup uml` puts the kernel it builds; the path depends on the recipe."""
    recipe = b"".join(Path(__file__).with_name(name).read_bytes() for name in _RECIPE)
    name = f"sampan/linux-{hashlib.sha256(recipe).hexdigest()[:12]}.uml"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", name)


def command(kernel: Path, words: Sequence[str], cwd: Path, work: Path, lines: tuple[Line, Line]) -> list[str]:
    """The command that boots `kernel` with the files written to `work`."""
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
        *(f"uml_dir={work}", f"umid={_UMID}", "con0=null,fd:1"),
        *(f"ssl{number}=fd:{line.fd}" for number, line in enumerate(lines)),
        *("quiet", "panic=-1", "psi=1", "cgroup_no_v1=all"),
    ]
    # Its memory is a file in TMPDIR, which must not be one of the directories made read-only.
    return [
        *("env", "--unset=TMPDIR", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c", _shut_in(arguments, work)),
    ]


def ask_kernel(work: Path) -> str:
    """The report of the kernel of `work` on blocked tasks, memory and timers, even if no program responds.

    Raises `OSError` if it does not respond. Source: kernel arch/um/drivers/mconsole.h.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind("")  # any address, to receive replies
        line.settimeout(_ANSWER_S)
        line.connect(str(work / _UMID / "mconsole"))
        for request in (b"sysrq 9", b"sysrq w", b"sysrq m", b"sysrq q"):  # 9: messages of every level
            line.send(struct.pack("III", _MAGIC, _VERSION, len(request)) + request.ljust(_REQUEST_BYTES, b"\0"))
        return line.recv(_ANSWER_BYTES)[_ANSWER_HEAD_BYTES:].decode(errors="replace") + _rest(line)


def _rest(line: socket.socket) -> str:
    """Receive the further parts of a reply; a kernel in trouble may never send the last one."""
    parts = []
    with suppress(TimeoutError):
        while part := line.recv(_ANSWER_BYTES)[_ANSWER_HEAD_BYTES:]:
            parts.append(part.rstrip(b"\0"))
    return b"".join(parts).decode(errors="replace")


def _shut_in(arguments: Sequence[str], work: Path) -> str:
    """Make everything read-only before the start, as root in the guest could mount the host's files again."""
    return f"""
    mount --make-rprivate / && mount --bind {work} {work} || exit
    findmnt --raw --noheadings --real --output TARGET | while read -r target; do
        [ "$target" = {work} ] || mount -o remount,bind,ro "$target" || exit
    done
    exec {shlex.join(arguments)}
    """


def _busybox() -> str:
    return os.path.realpath(shutil.which("busybox") or "/bin/busybox")
