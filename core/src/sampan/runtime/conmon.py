"""conmon, the monitor of one container: it is the parent of init and owns its stdio, log and exit code.

Source of facts: conmon 2.1.6, src/conmon.c (start), conn_sock.c (attach), ctrl.c (resize), parent_pipe_fd.c (sync).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sampan.errdefs import SystemFailure
from sampan.runtime.interface import Bundle

ATTACH_SOCKET = "attach"
CONTROL_FIFO = "ctl"
RESIZE_FIFO = "winsz"
RESIZE, REOPEN_LOG = 1, 2  # types of messages in the control fifo, each with two numbers


@dataclass(frozen=True)
class Monitor:
    """How to start conmon for one container.

    `runtime` and `runtime_args` are the OCI runtime and its arguments before the subcommand. `dir` is where conmon
    writes its pid, init's pid and the exit code; the sockets and fifos are in the bundle. `tmp_dir` must be short, as
    the path of the console socket is limited to 107 bytes.
    """

    conmon: Path
    runtime: Path
    runtime_args: tuple[str, ...]
    id: str
    bundle: Path
    dir: Path
    tmp_dir: Path
    terminal: bool
    stdin: bool
    stdin_once: bool
    log_path: Path | None
    log_max_bytes: int | None

    @property
    def init_pid_file(self) -> Path:
        """Written by the runtime."""
        return self.dir / "init.pid"

    @property
    def conmon_pid_file(self) -> Path:
        """Written by conmon before `start` returns."""
        return self.dir / "conmon.pid"


def closes_stdin(bundle: Bundle) -> bool:
    """Whether the container's stdin ends when an attached caller disconnects; a terminal's never does."""
    return bundle.stdin and bundle.stdin_once and not bundle.terminal


def start(monitor: Monitor) -> int:
    """Start conmon, which creates the container, and return the pid of init.

    To be called in the thread whose namespaces conmon should run in. Raises `SystemFailure` with conmon's message;
    why the *runtime* failed is in its own log.
    """
    with _pipe() as (sync, write_end), _short_tmp_dir(monitor) as tmp_dir, _memory_file() as words:
        # TZ: conmon writes log timestamps in local time. LC_ALL: it rejects arguments that are invalid in its locale.
        # Nothing of the daemon's environment is passed on.
        environment = {
            "PATH": os.defpath,
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": tmp_dir,
            "_OCI_SYNCPIPE": str(write_end.fileno()),
        }
        process = subprocess.Popen(
            command_line(monitor),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=environment,
            pass_fds=(write_end.fileno(),),
            cwd="/",
            start_new_session=True,
        )
        write_end.close()
        process.wait()  # the first conmon only forks the second one and exits
        report = sync.readline()
        words.seek(0)
        return _init_pid(report, words.read(4096))


def command_line(monitor: Monitor) -> list[str]:
    """conmon's command line."""
    arguments = [
        str(monitor.conmon),
        *("--api-version", "--cid", monitor.id, "--cuuid", monitor.id, "--name", monitor.id),
        *("--runtime", str(monitor.runtime), *(f"--runtime-arg={argument}" for argument in monitor.runtime_args)),
        *("--bundle", str(monitor.bundle), "--full-attach"),
        *("--container-pidfile", str(monitor.init_pid_file), "--conmon-pidfile", str(monitor.conmon_pid_file)),
        *("--exit-dir", str(monitor.dir)),
        *("--log-path", f"k8s-file:{monitor.log_path}" if monitor.log_path else "none", "--no-sync-log"),
    ]
    if monitor.log_max_bytes:
        arguments += ["--log-size-max", str(monitor.log_max_bytes)]
    if monitor.terminal:
        arguments.append("--terminal")
    if monitor.stdin:
        arguments.append("--stdin")
    if not monitor.stdin_once:
        # Without this, conmon closes stdin (a terminal's only by half) as soon as one attached caller disconnects.
        arguments.append("--leave-stdin-open")
    return arguments


def _init_pid(report: bytes, words: bytes) -> int:
    if not report:
        raise SystemFailure(f"conmon: {words.decode(errors='replace').strip() or 'ended without a message'}")
    answer = json.loads(report)
    if answer["data"] <= 0:
        raise SystemFailure(str(answer.get("message") or "conmon: the runtime failed").strip())
    return int(answer["data"])


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as writer:
        yield reader, writer


@contextlib.contextmanager
def _memory_file() -> Iterator[BinaryIO]:
    with os.fdopen(os.memfd_create("conmon"), "w+b") as file:
        yield file


@contextlib.contextmanager
def _short_tmp_dir(monitor: Monitor) -> Iterator[str]:
    """The directory for conmon's console socket, which it leaves behind if the runtime fails."""
    if not monitor.terminal:
        yield str(monitor.tmp_dir)
        return
    with tempfile.TemporaryDirectory(dir=monitor.tmp_dir, prefix="") as directory:
        yield directory
