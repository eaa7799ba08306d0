"""The in-memory runtime behaves like the real one, as far as its users can tell."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from sampan.errdefs import Conflict, NotFound
from sampan.runtime import logs
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import STDERR, STDOUT, Bundle, Runtime
from sampan.runtime.log_files import LogFiles, LogLimits
from sampan.runtime.log_lines import LogQuery
from sampan.runtime.oci import OciRuntime
from sampan.testing.memory_runtime import MemoryAttached, MemoryRuntime


def both_are_runtimes(memory: MemoryRuntime, real: OciRuntime) -> tuple[Runtime, Runtime]:
    """For the type checker."""
    return memory, real


def bundle(tmp_path: Path, *args: str, **fields: Any) -> Bundle:
    process = {"args": list(args), "env": ["A=1"]}
    return Bundle("c1", tmp_path, {"process": process}, (), log_path=tmp_path / "log", **fields)


async def start(tmp_path: Path, *args: str, **fields: Any) -> tuple[MemoryRuntime, MemoryAttached]:
    runtime = MemoryRuntime()
    await runtime.create(bundle(tmp_path, *args, **fields))
    attached = await runtime.attach("c1")
    await runtime.start("c1")
    return runtime, attached


async def everything(attached: MemoryAttached) -> list[tuple[int, bytes]]:
    output = []
    while item := await attached.read():
        output.append(item)
    return output


async def test_output_exit_code_and_log(tmp_path: Path) -> None:
    runtime, attached = await start(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3")
    expected = [(STDOUT, b"out\n"), (STDERR, b"err\n")]
    assert await everything(attached) == expected
    assert (await runtime.wait("c1")).code == 3
    files = LogFiles(tmp_path / "log", LogLimits())
    files.number_current()
    assert [e async for batch in logs.read(files, LogQuery()) for e in batch] == expected


async def test_stdin_ends(tmp_path: Path) -> None:
    runtime, attached = await start(tmp_path, "cat", stdin=True, stdin_once=True)
    await attached.write(b"one")
    await attached.close_stdin()
    assert await everything(attached) == [(STDOUT, b"one")]
    assert (await runtime.wait("c1")).code == 0


async def test_a_signal_ends_it_and_then_it_is_not_running(tmp_path: Path) -> None:
    runtime, attached = await start(tmp_path, "sleep", "infinity", terminal=True)
    await runtime.resize("c1", 24, 80)
    assert runtime.window_size("c1") == (24, 80)
    await runtime.kill("c1", signal.SIGWINCH)
    assert await runtime.adopt("c1") is not None
    await runtime.kill("c1", signal.SIGTERM)
    assert (await runtime.wait("c1")).code == 143
    assert await attached.read() is None
    assert await runtime.adopt("c1") is None
    with pytest.raises(Conflict):
        await runtime.kill("c1", signal.SIGTERM)
    await runtime.delete("c1")
    with pytest.raises(NotFound):
        await runtime.wait("c1")


async def test_a_command_that_is_not_there_is_127(tmp_path: Path) -> None:
    runtime = MemoryRuntime()
    with pytest.raises(StartFailure, match=r"executable file not found in \$PATH: unknown"):
        await runtime.create(bundle(tmp_path, "nosuch"))
    assert runtime.list() == []


async def test_exec_has_its_own_streams_and_code(tmp_path: Path) -> None:
    runtime, _ = await start(tmp_path, "sleep", "infinity")
    running = await runtime.exec(
        "c1", "x1", lambda: {"args": ["sh", "-c", "tty; exit 4"]}, terminal=True, stdin=False
    )
    assert await everything(running.attached) == [(STDOUT, b"/dev/pts/0\r\n")]
    assert await running.wait() == 4
    await runtime.delete("c1")
