"""QEMU with Debian's own kernel: slower than User Mode Linux, but with every controller and several processors.

The processor is emulated even if there is KVM, as /dev/kvm often hangs on rented machines. Sources: QEMU docs,
system/invocation; for the initramfs format, kernel Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.guest import boot
from tools.guest.console import Line

# Modules needed to reach the host's /lib/modules, and those that are not loaded automatically.
_MODULES = ("virtio_pci", "virtio_console", "overlay", "9pnet_virtio", "9p", "loop", "crc32c_generic", "ext4")
_MONITOR, _ANSWER_S = "monitor", 20.0
_DIRECTORY, _PROGRAM, _FILE, _CONSOLE = 0o040755, 0o100755, 0o100644, 0o020600

_INIT = r"""#!/guest/busybox sh
B=/guest/busybox T=/guest/mnt W=/guest
$B mkdir -p /proc /sys /dev "$T"
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
. /guest/config
for module in $MODULES; do $B insmod "/guest/$module.ko"; done
$B mount -t tmpfs -o size=75% tmpfs "$T"
$B mkdir -p "$T/lower" "$T/root"
$B mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose,access=any host "$T/lower"
"""

_SWITCH = r"""
for port in /sys/class/virtio-ports/*; do $B ln -s "/dev/${port##*/}" "/dev/$($B cat "$port/name")"; done
for directory in proc sys dev; do $B mount --move "/$directory" "$T/root/$directory"; done
exec $B switch_root "$T/root" /run/guest/busybox sh /run/guest/session
"""


def find_kernel() -> Path | None:
    """The newest kernel in /boot that can mount the host's files; Debian's cloud kernel can't."""
    kernels = sorted(
        Path("/boot").glob("vmlinuz-*"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)]
    )
    usable = (path for path in reversed(kernels) if shutil.which(_program()) and _has_9p(path))
    return next(usable, None)


def command(kernel: Path, words: Sequence[str], cwd: Path, work: Path, lines: tuple[Line, Line]) -> list[str]:
    """The command that boots `kernel` with an initramfs, which is written to `work`."""
    modules = {_module_name(path): path for path in _in_loading_order(_modules_of(kernel))}
    config = {"MODULES": " ".join(modules), "OUTPUT": "/dev/output", "CONTROL": "/dev/control"}
    archive = b"".join(
        (
            *(_entry(name, _DIRECTORY) for name in ("dev", "guest")),
            _entry("dev/console", _CONSOLE, device=(5, 1)),
            _entry("guest/busybox", _PROGRAM, Path(os.path.realpath("/bin/busybox")).read_bytes()),
            *(_entry(f"guest/{name}.ko", _FILE, _unpacked(path)) for name, path in modules.items()),
            _entry("guest/config", _FILE, boot.config(config, cwd).encode()),
            _entry("guest/session", _FILE, boot.SESSION.encode()),
            _entry("guest/command", _FILE, boot.command(words, cwd, engine="qemu").encode()),
            _entry("init", _PROGRAM, (_INIT + boot.ROOT + _SWITCH).encode()),
            _entry("TRAILER!!!", 0),
        )
    )
    initrd = work / "initrd"
    initrd.write_bytes(archive)
    monitor = ["-qmp", f"unix:{work / _MONITOR},server=on,wait=off"]
    return [*_processor(), *_kernel(kernel, initrd), *_host_files(), *_serial_lines(lines), *monitor]


def ask_kernel(work: Path) -> str:
    """The registers of each processor of `work`, which QEMU can report whatever the kernel does.

    Raises `OSError`. Source: QEMU docs, interop/qemu-qmp-ref.
    """
    ask = {"execute": "human-monitor-command", "arguments": {"command-line": "info registers -a"}}
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_ANSWER_S)
        line.connect(str(work / _MONITOR))
        line.sendall(b"".join(json.dumps(one).encode() for one in ({"execute": "qmp_capabilities"}, ask)))
        answers = (json.loads(answer) for answer in line.makefile())
        return next(text for answer in answers if isinstance(text := answer.get("return"), str))


def _processor() -> list[str]:
    # "pc" has the HPET, a clock that is accurate with an emulated processor.
    return [
        *(_program(), "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-machine", "pc", "-cpu", "Nehalem", "-accel", "tcg,thread=multi,tb-size=512", "-smp", "2", "-m", "4096M"),
    ]


def _kernel(kernel: Path, initrd: Path) -> list[str]:
    words = (
        "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on audit=0 nowatchdog "
        "psi=1 cgroup_no_v1=all tsc=unstable clocksource=hpet "
        "no_timer_check"  # on a busy host the timer is late, which the kernel would take for broken, and panic
    )
    return ["-kernel", str(kernel), "-initrd", str(initrd), "-append", words]


def _host_files() -> list[str]:
    return [
        *("-fsdev", "local,id=host,path=/,security_model=none,multidevs=remap,readonly=on"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
    ]


def _serial_lines(lines: tuple[Line, Line]) -> Iterator[str]:
    yield from ("-device", "virtio-serial-pci")
    for name, line in zip(("output", "control"), lines, strict=True):
        yield from (
            "-chardev",
            f"socket,id={name},fd={line.fd}",
            "-device",
            f"virtserialport,chardev={name},name={name}",
        )


def _program() -> str:
    return f"qemu-system-{platform.machine()}"


def _modules_of(kernel: Path) -> Path:
    return Path("/lib/modules", kernel.name.removeprefix("vmlinuz-"))


def _has_9p(kernel: Path) -> bool:
    try:
        return bool(_in_loading_order(_modules_of(kernel)))
    except (FileNotFoundError, KeyError):
        return False


def _in_loading_order(directory: Path) -> list[Path]:
    """The modules' files, each after its dependencies. Raises `KeyError` for one that the kernel doesn't have."""
    needs = {
        path: rest.split() for path, _, rest in (line.partition(":") for line in _lines(directory / "modules.dep"))
    }
    by_name = {_module_name(Path(path)): path for path in needs}
    built_in = {_module_name(Path(path)) for path in _lines(directory / "modules.builtin")}
    order: dict[str, None] = {}
    for name in _MODULES:
        if name not in built_in:
            path = by_name[name]
            order |= dict.fromkeys([*reversed(needs[path]), path])
    return [directory / path for path in order]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _unpacked(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """A file in a cpio archive of format "newc"."""
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = ("070701" + "".join(f"{value:08X}" for value in fields) + name).encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
