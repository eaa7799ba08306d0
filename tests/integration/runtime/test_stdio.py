"""Attaching to the process of a container, on pipes and on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from sampan.errdefs import Conflict
from sampan.runtime import attach
from sampan.runtime.interface import STDERR, STDOUT, Attached
from sampan.runtime.spec import ProcessSettings
from sampan.runtime.user import User
from tests.support.containers import held_by
from tests.support.runtime_host import PATIENCE_S, Host, everything, until

pytestmark = pytest.mark.root
STANDS_STILL_S = 0.3


async def test_output_comes_on_its_stream_and_the_exit_code_is_the_commands(host: Host) -> None:
    code, output = await host.run("c1", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, output) == (3, {STDOUT: b"out\n", STDERR: b"err\n"})


async def test_stdin_reaches_the_process_and_its_end_too(host: Host) -> None:
    attached = await host.start("c1", "wc", "-c", stdin=True, stdin_once=True)
    await attached.write(b"x" * 1_000_000)
    await attached.close_stdin()
    assert (await everything(attached))[STDOUT] == b"1000000\n"
    assert (await host.runtime.wait("c1")).code == 0


async def test_without_stdin_the_process_reads_end_of_file(host: Host) -> None:
    assert await host.run("c1", "cat") == (0, {STDOUT: b"", STDERR: b""})


async def test_an_attacher_that_only_reads_does_not_end_stdin_when_it_goes(host: Host) -> None:
    writer = await host.start("c1", "cat", stdin=True, stdin_once=True)
    reader = await host.attach("c1")
    await writer.write(b"one\n")
    assert await until(reader, b"one\n")
    await reader.close()
    await writer.write(b"two\n")
    await writer.close_stdin()
    assert (await everything(writer))[STDOUT] == b"one\ntwo\n"


async def test_with_stdin_not_once_a_second_attacher_can_go_on_writing(host: Host) -> None:
    first = await host.start("c1", "cat", stdin=True)
    await first.write(b"one\n")
    await until(first, b"one\n")
    await first.close()
    second = await host.attach("c1")
    await second.write(b"two\n")
    assert await until(second, b"two\n") == b"two\n"


async def test_a_terminal_has_the_size_it_was_given_last(host: Host) -> None:
    attached = await host.start("c1", "sh", terminal=True, stdin=True)
    for height in range(20, 41):
        await host.runtime.resize("c1", height, 100)
    await attached.write(b"tty; stty size; exit 5\n")
    output = (await everything(attached))[STDOUT]
    assert b"/dev/pts/0\r\n" in output
    assert b"40 100\r\n" in output
    assert (await host.runtime.wait("c1")).code == 5


def monitor_of(host: Host, id: str) -> int:
    pid: int = json.loads((host.work / f"run/containers/{id}/record.json").read_text())["conmon"]["pid"]
    return pid


async def stopped_monitor(host: Host) -> int:
    """Stop the monitor of a created container that will print hi once started."""
    await host.runtime.create(host.bundle("c1", "echo", "hi"))
    monitor = monitor_of(host, "c1")
    os.kill(monitor, signal.SIGSTOP)
    return monitor


async def hears_hi(host: Host, attached: Attached) -> bool:
    await host.runtime.start("c1")
    return await everything(attached) == {STDOUT: b"hi\n", STDERR: b""}


async def test_who_is_attached_has_been_accepted_by_the_monitor(host: Host) -> None:
    monitor = await stopped_monitor(host)
    goes_on = asyncio.Event()

    def go_on() -> None:
        goes_on.set()
        os.kill(monitor, signal.SIGCONT)

    asyncio.get_running_loop().call_later(STANDS_STILL_S, go_on)
    attached = await host.attach("c1")
    assert goes_on.is_set()
    assert await hears_hi(host, attached)


async def test_who_attaches_to_a_monitor_that_is_killed_before_it_accepts_reads_nothing(host: Host) -> None:
    monitor = await stopped_monitor(host)
    asyncio.get_running_loop().call_later(STANDS_STILL_S, os.kill, monitor, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        assert await everything(await host.attach("c1")) == {STDOUT: b"", STDERR: b""}


async def test_who_attaches_to_a_monitor_that_does_not_accept_waits_a_while_only(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "_ACCEPT_PATIENCE_S", STANDS_STILL_S)
    monitor = await stopped_monitor(host)
    attached = await host.attach("c1")
    os.kill(monitor, signal.SIGCONT)
    assert await hears_hi(host, attached)


async def test_who_stops_attaching_before_the_monitor_accepts_leaves_no_connection(host: Host) -> None:
    monitor = await stopped_monitor(host)
    before = held_by(os.getpid())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(STANDS_STILL_S):
            await host.attach("c1")
    assert held_by(os.getpid()) == before
    os.kill(monitor, signal.SIGCONT)
    assert await hears_hi(host, await host.attach("c1"))


async def test_a_terminal_whose_monitor_stood_still_has_the_last_size(host: Host) -> None:
    attached = await host.start("c1", "sh", terminal=True, stdin=True)
    monitor = monitor_of(host, "c1")
    os.kill(monitor, signal.SIGSTOP)
    for height in (20, 30, 40):
        await host.runtime.resize("c1", height, 100)
    os.kill(monitor, signal.SIGCONT)
    await attached.write(b"until stty size | grep '40 100'; do :; done\n")
    await until(attached, b"40 100\r\n")


async def test_a_terminal_survives_an_attacher_that_goes(host: Host) -> None:
    first = await host.start("c1", "sh", terminal=True, stdin=True, stdin_once=True)
    await first.write(b"echo on''e\n")
    await until(first, b"one\r\n")
    await first.close()
    second = await host.attach("c1")
    await second.write(b"echo tw''o\n")
    await until(second, b"two\r\n")


async def test_only_a_terminal_can_be_resized(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    with pytest.raises(Conflict):
        await host.runtime.resize("c1", 10, 10)


async def test_no_descriptor_of_ours_is_seen_inside(host: Host) -> None:
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        _, output = await host.run("c1", "sh", "-c", "ls /proc/self/fd; ls /proc/1/fd; true")
        # `ls` opens the directory itself, as 3.
        assert output[STDOUT].split() == [b"0", b"1", b"2", b"3", b"0", b"1", b"2"]
        await host.start("c2", "sleep", "100")
        _, output = await host.exec("c2", "ls", "/proc/self/fd")
        assert output[STDOUT].split() == [b"0", b"1", b"2", b"3"]
    finally:
        os.close(leak)


async def test_a_user_without_privileges_can_open_its_own_stdout(host: Host) -> None:
    process = ProcessSettings(["sh", "-c", "id -u; echo hi >/dev/stdout"], ["PATH=/bin"], user=User(33, 33))
    assert (await host.run("c1", process=process))[1] == {STDOUT: b"33\nhi\n", STDERR: b""}


@pytest.mark.parametrize("fields", [{}, {"stdin": True}, {"terminal": True}, {"terminal": True, "stdin": True}])
async def test_who_attaches_and_goes_does_no_harm_and_is_not_kept(host: Host, fields: dict[str, Any]) -> None:
    script = "trap 'echo two; exit 0' TERM; echo one; while true; do sleep 0.05; done"
    stay = await host.start("c1", "sh", "-c", script, **fields)
    await until(stay, b"one")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        await (await host.runtime.attach("c1")).close()
    assert len(os.listdir("/proc/self/fd")) <= before
    await host.runtime.kill("c1", signal.SIGTERM)
    assert b"two" in (await everything(stay))[STDOUT]
    assert (await host.runtime.wait("c1")).code == 0
