"""`python -m tools.guest -- COMMAND…`; see the package."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from tools.guest import qemu, uml
from tools.guest.console import NO_GUEST, Line, Patience, run

_CGROUPS = Path("/sys/fs/cgroup/cgroup.controllers")
_NEEDED = frozenset({"cpu", "memory", "pids"})
_WORK_DIR = Path("/var/tmp")  # noqa: S108 - in the guest it is a different directory


def main() -> int:
    options = _arguments()
    engine = options.engine or _choose()
    if engine == "qemu" and options.no_emulation:
        print(f"guest: nothing is run, as this host has more than cgroup v2: {_ADVICE}", file=sys.stderr)
        return 0
    if engine == "native":
        os.execvp(options.command[0], options.command)  # noqa: S606 - the command is the caller's own
    machine = _MACHINES[engine]
    kernel = machine.find_kernel()
    if kernel is None:
        print(f"guest: nothing is run, as there is no kernel for {engine} here: {_ADVICE}", file=sys.stderr)
        return NO_GUEST
    print(f"guest: {engine}, {kernel}", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, _on_sigterm)
    with tempfile.TemporaryDirectory(prefix="sampan-guest-", dir=_WORK_DIR) as directory:
        work, cwd = Path(directory), Path.cwd()

        def command(output: Line, control: Line) -> list[str]:
            return machine.command(kernel, options.command, cwd, work, (output, control))

        patience = Patience(options.timeout, options.silence)
        return run(command, work / "log", patience, lambda: machine.ask_kernel(work))


class Machine(Protocol):
    """The interface of a way to run a kernel."""

    def find_kernel(self) -> Path | None:
        """The kernel to run, if there is one."""

    def command(
        self, kernel: Path, words: Sequence[str], cwd: Path, work: Path, lines: tuple[Line, Line]
    ) -> list[str]:
        """The command line that starts `kernel`, with its own files in `work`, to run `words` in `cwd`."""

    def ask_kernel(self, work: Path) -> str:
        """The kernel's state, for a guest whose programs no longer respond. Raises `OSError`."""


_MACHINES: dict[str, Machine] = {"uml": uml, "qemu": qemu}
_ADVICE = (
    f"name one of User Mode Linux in {uml.KERNEL}, build one with `tools/setup uml`, or install qemu-system-x86 and "
    "linux-image-amd64"
)


def _choose() -> str:
    """The cheapest one available: this host itself, a kernel that is a process, or an emulated machine."""
    if _CGROUPS.exists() and set(_CGROUPS.read_text().split()) >= _NEEDED:
        return "native"
    return "uml" if uml.find_kernel() else "qemu"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.guest", description="Run a command in a guest kernel")
    parser.add_argument("--engine", choices=("native", "uml", "qemu"), help="instead of the first of them that works")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds that the command may take")
    parser.add_argument("--silence", type=float, default=math.inf, help="seconds that it may say nothing")
    parser.add_argument(
        "--no-emulation", action="store_true", help="where only an emulated machine is left, run nothing and say so"
    )
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _on_sigterm(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
