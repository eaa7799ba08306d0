"""Containers: what they run, and how that fails."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.errdefs import Conflict, NotFound
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.spec import SpecMount
from tests.support.runtime_host import Host

pytestmark = pytest.mark.root


async def test_a_command_that_is_not_there_is_127_in_dockers_words(host: Host) -> None:
    with pytest.raises(StartFailure) as caught:
        await host.runtime.create(host.bundle("c1", "nosuch"))
    assert caught.value.exit_code == 127
    assert str(caught.value).startswith(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    )
    assert 'exec: "nosuch": executable file not found in $PATH: unknown' in str(caught.value)
    assert host.runtime.list() == []


@pytest.mark.parametrize("command", ["/bin/plain", "/tmp"])
async def test_a_command_that_is_no_program_is_126(host: Host, command: str) -> None:
    with pytest.raises(StartFailure) as caught:
        await host.runtime.create(host.bundle("c1", command))
    assert caught.value.exit_code == 126
    assert "permission denied" in str(caught.value)


async def test_a_mount_of_the_wrong_kind_says_so(host: Host) -> None:
    mount = SpecMount("/etc/passwd", "bind", "/tmp", ("rbind",))
    with pytest.raises(StartFailure, match="Are you trying to mount a directory onto a file"):
        await host.runtime.create(host.bundle("c1", "true", mounts=(mount,)))


async def test_a_killed_container_ends_with_128_and_the_signal(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    await host.runtime.kill("c1", signal.SIGKILL)
    assert (await host.runtime.wait("c1")).code == 137
    with pytest.raises(Conflict):
        await host.runtime.kill("c1", signal.SIGKILL)
    with pytest.raises(Conflict):
        await host.runtime.attach("c1")


async def test_the_defaults_are_dockers(host: Host) -> None:
    _, output = await host.run("c1", "sh", "-c", "grep -E 'CapInh|CapEff|Seccomp:' /proc/self/status; mount")
    lines = output[STDOUT].decode().splitlines()
    assert lines[0].split() == ["CapInh:", "0000000000000000"]
    assert lines[1].split() == ["CapEff:", "00000000a80425fb"]
    assert lines[2].split() == ["Seccomp:", "2"]
    assert any(line.startswith("proc on /proc/sys type proc (ro") for line in lines)


async def test_a_mounts_absence_outside_is_the_containers_privacy(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    assert str(host.work) not in Path("/proc/self/mountinfo").read_text()


async def test_ids_that_are_unknown_or_taken_are_refused(host: Host) -> None:
    with pytest.raises(NotFound):
        await host.runtime.start("nosuch")
    with pytest.raises(NotFound):
        await host.runtime.adopt("nosuch")
    await host.runtime.create(host.bundle("c1", "true"))
    with pytest.raises(Conflict):
        await host.runtime.create(host.bundle("c1", "true"))
    await host.delete("c1")
    await host.delete("c1")


async def test_containers_are_created_side_by_side(host: Host) -> None:
    results = await asyncio.gather(*(host.run(f"c{number}", "echo", str(number)) for number in range(12)))
    logs = [(host.work / f"c{number}.log").read_text() for number in range(12)]
    assert results == [(0, {STDOUT: f"{number}\n".encode(), STDERR: b""}) for number in range(12)], logs


async def test_paths_need_not_be_ascii(host: Host) -> None:
    log = host.work / "ünï.log"
    await host.runtime.create(replace(host.bundle("c1", "echo", "hi"), log_path=log))
    await host.runtime.start("c1")
    assert (await host.runtime.wait("c1")).code == 0
    assert log.read_text().endswith(" F hi\n")
