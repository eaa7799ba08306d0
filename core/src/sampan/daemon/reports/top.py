"""container_top: the host's `ps` for a container's processes.

Source of rules and messages: moby daemon/top_unix.go.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.models import TopContainer, TopResult

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_PATIENCE_S = 30
_DEFAULT_ARGUMENTS = "-ef"
_RENAMED_PID = re.compile(r"\s+(\S*)=\s*(PID\S*)")
_BLANKS = re.compile(r"[\t\n\f\r ]+")


async def container_top(daemon: Daemon, job: Job[TopContainer]) -> TopResult:
    """List the container's processes, with the columns that the `ps` arguments ask for."""
    arguments = job.request.ps_args or _DEFAULT_ARGUMENTS
    _check(arguments)
    container = daemon.containers.get(job.request.name)
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.running:
        raise Conflict(f"container {container.id} is not running")
    pids = await asyncio.to_thread(_pids, daemon, container)
    shown = await asyncio.to_thread(_ps, arguments.split(" "), pids)
    result = parse(shown, pids)
    daemon.publish(container, "top")
    return result


def parse(shown: str, pids: Collection[int]) -> TopResult:
    """The lines of these processes and their threads, split into as many columns as there are titles.

    Raises `InvalidArgument` for output that can't be parsed, as that depends on the arguments.
    """
    titles, *rows = ([word for word in _BLANKS.split(line) if word] for line in shown.split("\n"))
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    wanted = _wanted(rows, titles.index("PID"), pids)
    last = len(titles) - 1
    return TopResult(titles=titles, processes=[[*row[:last], " ".join(row[last:])] for row in wanted])


def _wanted(rows: Sequence[list[str]], column: int, pids: Collection[int]) -> Iterator[list[str]]:
    """Select lines by process ID. A thread's line has none, and follows that of its process."""
    is_ours = False
    for row in filter(None, rows):
        pid = row[column] if column < len(row) else ""
        if pid != "-":
            if not pid.isdecimal():
                raise InvalidArgument(f"Unexpected pid '{pid}'")
            is_ours = int(pid) in pids
        if is_ours:
            yield row


def _check(arguments: str) -> None:
    if "\0" in arguments:
        raise InvalidArgument("ps arguments can't contain a NUL character")
    for name, value in _RENAMED_PID.findall(arguments):
        if name != "pid":
            raise InvalidArgument(f'specifying "{name}={value}" is not allowed')


def _pids(daemon: Daemon, container: Container) -> list[int]:
    """The processes known to the resource driver, and at least init, as a driver without groups knows none."""
    try:
        known = daemon.resources.processes(container.id)
    except NotFound:
        raise Conflict(f"container {container.id} is not running") from None
    return sorted({*known, container.state.pid})


def _ps(arguments: Sequence[str], pids: Sequence[int]) -> str:
    """Run ps. Some options, such as f, can't be combined with -q; then all processes are listed."""
    done = _run([*arguments, f"-q{','.join(map(str, pids))}"])
    if done.returncode:
        done = _run(arguments)
    if done.returncode:
        raise InvalidArgument(f"ps: {done.stderr.partition(os.linesep)[0] or f'exit status {done.returncode}'}")
    return done.stdout


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["ps", *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            errors="replace",
            encoding="utf-8",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemFailure(f"ps has not ended in {_PATIENCE_S} s") from None
    except UnicodeEncodeError:
        raise InvalidArgument("ps: the arguments are not valid text") from None
    except OSError as error:
        raise SystemFailure(f"ps: {error.strerror}") from error
