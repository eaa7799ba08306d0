"""What is left behind when containers, monitors and daemons end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.runtime import logs, probe
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.log_lines import LogQuery
from sampan.runtime.namespace import HYBRID_ROOT, RuntimeNamespace, host_kind
from sampan.syscalls.pidfd import is_zombie
from tests.support.runtime_host import PATIENCE_S, Host, make_runtime, until

pytestmark = pytest.mark.root


async def test_a_killed_conmon_takes_its_container_along(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    record = json.loads((host.work / "run/containers/c1/record.json").read_text())
    os.kill(record["conmon"]["pid"], signal.SIGKILL)
    assert (await asyncio.wait_for(host.runtime.wait("c1"), PATIENCE_S)).code == 137
    await host.delete("c1")
    assert not Path(f"/proc/{record['init']['pid']}").exists()


async def test_a_monitor_without_a_container_and_a_failed_exec_leave_no_zombie(host: Host) -> None:
    await host.start("c1", "sleep", "100")
    with pytest.raises(StartFailure):
        await host.runtime.create(host.bundle("c2", "nosuch"))
    with pytest.raises(StartFailure):
        await host.exec("c1", "nosuch")
    async with asyncio.timeout(PATIENCE_S):
        while zombies():
            await asyncio.sleep(0.01)  # no event reports that a zombie is gone


def zombies() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if is_zombie(int(pid))]


async def test_nothing_is_left(host: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        await host.run(f"c{number}", "true", terminal=number == 2)
        await (await host.start(f"d{number}", "sleep", "100")).close()
        await host.exec(f"d{number}", "true")
        await host.delete(f"d{number}")
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [path for path in (host.work / "run").rglob("*") if not path.is_dir()]
    assert os.listdir(host.work / "run/containers") == []
    assert (
        str(host.work) not in subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    )
    if host_kind() == "hybrid":
        slice_dir = HYBRID_ROOT / host.slice_name.lstrip("/")
        assert not [path for path in slice_dir.iterdir() if path.is_dir()]


FIRST_DAEMON = """
import asyncio, sys
from pathlib import Path
from sampan.runtime import probe
from sampan.runtime.namespace import RuntimeNamespace
from tests.support.runtime_host import Host, make_runtime
async def main(work, rootfs, slice_name, program, kind):
    namespace = RuntimeNamespace(slice_name)
    found = {"only": probe.FoundRuntime("only", program, kind=kind)}
    host = Host(make_runtime(Path(work) / "run", namespace, found), Path(work), Path(rootfs), slice_name)
    await host.start("lives", "sh", "-c", "echo before; cat; exit 9", stdin=True)
    await host.start("ends", "sh", "-c", "cat; echo end; exit 8", stdin=True)
    await host.start("orphan", "sleep", "100")
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_new_daemon_finds_everything_again(
    host: Host, namespace: RuntimeNamespace, runtimes: dict[str, probe.FoundRuntime]
) -> None:
    host.runtime.close()
    found = runtimes[probe.default_runtime(runtimes, None)]
    arguments = [str(host.work), str(host.rootfs), host.slice_name, found.path, found.kind]
    with subprocess.Popen([sys.executable, "-c", FIRST_DAEMON, *arguments], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        first.kill()
    records = {
        id: json.loads((host.work / f"run/containers/{id}/record.json").read_text()) for id in ("ends", "orphan")
    }
    await end_stdin_of(host, "ends")
    os.kill(records["orphan"]["conmon"]["pid"], signal.SIGKILL)
    await ended(records["ends"]["conmon"]["pid"])
    await ended(records["orphan"]["conmon"]["pid"])

    second = make_runtime(host.work / "run", namespace, {"only": replace(found, name="only")})
    host.runtime = second
    assert second.list() == ["ends", "lives", "orphan"]
    assert await second.adopt("ends") is None
    assert (await second.wait("ends")).code == 8
    assert await second.adopt("lives") is not None
    await second.adopt("orphan")
    assert (await asyncio.wait_for(second.wait("orphan"), PATIENCE_S)).code == 137
    attached = await host.attach("lives")
    await attached.write(b"after\n")
    await until(attached, b"after\n")
    assert await host.exec("lives", "echo", "exec") == (0, {STDOUT: b"exec\n", STDERR: b""})
    content = [c async for batch in logs.read(host.log("lives"), LogQuery()) for _, c in batch]
    assert b"".join(content) == b"before\nafter\n"
    for id in second.list():
        await host.delete(id)
    assert os.listdir(host.work / "run/containers") == os.listdir(host.work / "run/state/only") == []


async def end_stdin_of(host: Host, id: str) -> None:
    """Terminate `cat` in the container, so that its shell goes on to exit."""
    init = json.loads((host.work / f"run/containers/{id}/record.json").read_text())["init"]["pid"]
    children = Path(f"/proc/{init}/task/{init}/children")
    async with asyncio.timeout(PATIENCE_S):
        while not children.read_text():
            await asyncio.sleep(0.01)  # no event reports that the shell has started
    os.kill(int(children.read_text().split()[0]), signal.SIGTERM)


async def ended(pid: int) -> None:
    """Wait for a process that is not our child to exit."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_reader(pidfd, done.set)
    try:
        await asyncio.wait_for(done.wait(), PATIENCE_S)
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
