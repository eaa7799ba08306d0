"""The processes that unpack layers: how they start and end, and what they see."""

import asyncio
import errno
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.errdefs import SystemFailure
from sampan.images.layer.limits import Limits
from sampan.images.layer.process import START, _environment, _module_paths
from sampan.images.layer.unpack import _request, unpack
from tests.support.containers import eventually, held_by
from tests.support.unpacking import OVERLAY, ZOO, unpacked, workers
from tests.unit.images.layer.building import entry, tar, with_tarfile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.root


async def test_a_worker_that_can_not_be_started_is_told_of_and_leaves_nothing_open(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(SystemFailure, match=r"the unpacker can't be started: .*Resource temporarily unavailable"):
        await unpacked(tar(entry(b"a")), target)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_call_ends_its_worker(target: Path) -> None:
    started = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield entry(b"a", b"1")
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
    await started.wait()
    # Spawning returns before exec is quite done: for a moment the command line reads as empty.
    assert eventually(lambda: bool(workers(target)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not workers(target)


async def test_a_call_cancelled_at_any_step_and_once_more_leaves_no_process_and_no_descriptor(target: Path) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield entry(b"a", b"1")
        await asyncio.Event().wait()

    await unpacked(tar(entry(b"warm")), target)
    before = sorted(os.listdir("/proc/self/fd"))
    for steps in range(10):
        task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not workers(target)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_worker_sees_only_its_directory_and_holds_few_capabilities(target: Path) -> None:
    (target / "inside").write_text("")
    started = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        for number in range(100):
            yield entry(b"%d" % number, bytes(100_000))
        while not (target / "50").exists():
            await asyncio.sleep(0)
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
    await started.wait()
    (pid,) = workers(target)
    assert "inside" in os.listdir(f"/proc/{pid}/root")
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"CapEff:\t000000008800\w{4}$", status, re.MULTILINE)
    assert re.search(r"CapBnd:\t000000008800001b$", status, re.MULTILINE)
    assert re.search(r"CapInh:\t0000000000000000$", status, re.MULTILINE)
    assert "NoNewPrivs:\t1" in status
    mounts = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    assert len(mounts) == 1
    assert "nosuid,nodev,noexec" in mounts[0]
    assert all(way.startswith(("pipe:", "/")) for way in held_by(int(pid)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_layers_unpack_at_once(tmp_path: Path) -> None:
    content = with_tarfile(tarfile.PAX_FORMAT, (tarfile.TarInfo("a"), os.urandom(100_000)))
    targets = [tmp_path / str(number) for number in range(12)]
    for path in targets:
        path.mkdir()
    await asyncio.gather(*(unpacked(content, path) for path in targets))
    assert all((path / "a").stat().st_size == 100_000 for path in targets)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("blob", [gzip.compress(tar(*ZOO)), zstd.compress(tar(*ZOO)), b"garbage" * 1000])
def test_a_worker_opens_nothing_of_its_own_once_it_is_confined(target: Path, tmp_path: Path, blob: bytes) -> None:
    trace = tmp_path / "trace"
    asked = {"expected": f"sha512:{'0' * 128}", "size": len(blob), "hashed": False, "growth": None}
    request = _request(target, OVERLAY, Limits(), asked)
    start = START.format("sampan.images.layer.worker")
    code = f"import os, sys; sys.argv[1] = sys.argv[1].replace('PARENT', str(os.getppid())); {start}"
    request = request.replace(f'"parent": {os.getpid()}', '"parent": PARENT')
    command = [
        str(shutil.which("strace")),
        "-f",
        "-o",
        str(trace),
        "-e",
        "trace=open,openat,openat2,execve,socket,umount2",
    ]
    command += [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, request, *_module_paths()]
    answer = subprocess.run(command, input=blob, check=True, capture_output=True, env=_environment()).stderr
    assert json.loads(answer)["error"] == "DataLoss"
    _, confined = trace.read_text().split("umount2(")
    assert re.findall(r'open\w*\(AT_FDCWD, "([^"]*)"|execve|socket\(', confined) == ["/"]


@pytest.mark.parametrize("module", ["worker", "copy_worker", "expand_worker"])
def test_a_worker_starts_without_what_is_heavy(module: str) -> None:
    code = f"import sys; sys.path += sys.argv[1:]; import sampan.images.layer.{module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, *_module_paths()]
    modules = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert not modules & {"asyncio", "pydantic", "aiohttp", "dataclasses", "tarfile", "subprocess", "shutil"}
