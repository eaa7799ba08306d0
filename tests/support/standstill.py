"""Diagnostics for a test that hangs, collected before its timeout unwinds everything."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import tail


def report(session_mark: str) -> str:
    """All processes with their threads' kernel stacks, the kernel log, the logs of the session's engines."""
    commands = dict(_commands())
    for pid, command in commands.items():
        if "/sampand " in command and session_mark in command:
            os.kill(pid, signal.SIGUSR1)  # dumps its Python stacks to its log
    processes = (line for pid, command in commands.items() for line in _process(pid, command))
    return "\n".join((*processes, "== the kernel", *_kernel_log(), *_logs(session_mark)))


def _commands() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        if command := _read(process / "cmdline").replace("\0", " ").strip():  # kernel threads have none
            yield int(process.name), command


def _process(pid: int, command: str) -> Iterator[str]:
    yield f"== {pid} {command}"
    for task in Path(f"/proc/{pid}").glob("task/*"):
        state = _read(task / "stat").rpartition(")")[2].split()[:1]
        yield f"{task.name} {' '.join(state)} {_read(task / 'wchan')}\n{_read(task / 'stack')}"


def _kernel_log() -> list[str]:
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout.splitlines()[-60:]


def _logs(session_mark: str) -> Iterator[str]:
    for log in Path(tempfile.gettempdir()).glob(f"{session_mark}*/**/log"):
        yield f"== {log}\n{tail(log)}"


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").rstrip()
    except OSError:  # exited meanwhile
        return ""
