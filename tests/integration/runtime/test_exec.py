"""Additional processes in a container."""

from __future__ import annotations

import asyncio
import signal

import pytest

from sampan.runtime import spec
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.spec import ProcessSettings
from tests.support.runtime_host import PATIENCE_S, Host, everything, until

pytestmark = pytest.mark.root


async def test_exec_runs_beside_init(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    assert await host.exec("c1", "sh", "-c", "echo out; echo err >&2; exit 4") == (
        4,
        {STDOUT: b"out\n", STDERR: b"err\n"},
    )


async def test_exec_of_what_is_not_there_or_no_program_is_127_or_126(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    for command, code in (("nosuch", 127), ("/bin/plain", 126)):
        with pytest.raises(StartFailure) as caught:
            await host.exec("c1", command)
        assert caught.value.exit_code == code
        assert str(caught.value).startswith("OCI runtime exec failed: exec failed: ")
    assert not list((host.work / "run/containers/c1/exec").iterdir())


async def test_exec_on_a_terminal_can_be_resized(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    process = spec.build_process(ProcessSettings(["sh"], ["PATH=/bin"], terminal=True, console_size=(11, 22)))
    running = await host.runtime.exec("c1", "x1", lambda: process, terminal=True, stdin=True)
    await running.attached.write(b"stty size\n")
    await until(running.attached, b"11 22\r\n")
    await host.runtime.resize("c1", 33, 44, "x1")
    await running.attached.write(b"stty size; exit 6\n")
    assert b"33 44\r\n" in (await everything(running.attached))[STDOUT]
    assert await running.wait() == 6


async def test_exec_stdin_ends_when_it_is_closed(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    process = spec.build_process(ProcessSettings(["wc", "-c"], ["PATH=/bin"]))
    running = await host.runtime.exec("c1", "x1", lambda: process, terminal=False, stdin=True)
    await running.attached.write(b"y" * 500_000)
    await running.attached.close_stdin()
    assert (await everything(running.attached))[STDOUT] == b"500000\n"


async def test_an_exec_ends_though_a_child_of_it_keeps_its_stdout(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    assert await host.exec("c1", "sh", "-c", "sleep 100 & echo hi") == (0, {STDOUT: b"hi\n", STDERR: b""})


async def test_an_exec_whose_caller_has_gone_goes_on(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    process = spec.build_process(ProcessSettings(["sh", "-c", "head -c 1000000 /dev/zero; exit 7"], ["PATH=/bin"]))
    running = await host.runtime.exec("c1", "x1", lambda: process, terminal=False, stdin=True)
    await running.attached.close()
    assert await asyncio.wait_for(running.wait(), PATIENCE_S) == 7


async def test_an_exec_ends_with_its_container(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    process = spec.build_process(ProcessSettings(["sleep", "100"], ["PATH=/bin"]))
    running = await host.runtime.exec("c1", "x1", lambda: process, terminal=False, stdin=False)
    await host.runtime.kill("c1", signal.SIGKILL)
    assert await asyncio.wait_for(running.wait(), PATIENCE_S) == 137
    assert await running.attached.read() is None
