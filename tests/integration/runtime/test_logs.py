"""What conmon keeps of the output."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sampan.errdefs import NotFound
from sampan.runtime import logs
from sampan.runtime.inotify import Inotify
from sampan.runtime.interface import STDERR, STDOUT
from sampan.runtime.log_files import LogFiles, LogLimits
from sampan.runtime.log_lines import LogQuery
from tests.support.runtime_host import PATIENCE_S, Host, until

pytestmark = pytest.mark.root


async def test_logs_are_followed_to_the_last_line(host: Host) -> None:
    attached = await host.start("c1", "sh", "-c", "echo one; cat; echo last >&2", stdin=True, stdin_once=True)
    batches = logs.follow(host.log("c1"), LogQuery(), changes=Inotify(), ended=host.runtime.wait("c1"))
    assert (await anext(batches)) == [(STDOUT, b"one\n")]
    await attached.write(b"two\n")
    assert (await anext(batches)) == [(STDOUT, b"two\n")]
    await attached.close_stdin()
    assert [entry async for batch in batches for entry in batch] == [(STDERR, b"last\n")]


async def test_a_log_is_begun_anew_at_its_greatest_size(host: Host) -> None:
    await host.run("c1", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do echo number $i; done", log_max_bytes=300)
    lines = b"".join([c async for batch in logs.read(host.log("c1"), LogQuery()) for _, c in batch]).splitlines()
    assert lines[-1] == b"number 9"
    assert len(lines) < 9


async def test_a_log_that_is_reopened_goes_on_in_a_new_file(host: Host) -> None:
    attached = await host.start("c1", "cat", stdin=True, stdin_once=True)
    files = host.log("c1")
    batches = logs.follow(files, LogQuery(), changes=Inotify(), ended=host.runtime.wait("c1"))
    await attached.write(b"one\n")
    assert (await anext(batches)) == [(STDOUT, b"one\n")]
    before = files.inode()
    await host.runtime.reopen_log("c1")
    async with asyncio.timeout(PATIENCE_S):
        while files.inode() == before:
            await asyncio.sleep(0.001)
    assert files.number_current()
    await attached.write(b"two\n")
    assert (await anext(batches)) == [(STDOUT, b"two\n")]
    await attached.close_stdin()
    assert [entry async for batch in batches for entry in batch] == []
    assert files.numbers() == [1, 2]
    await host.runtime.delete("c1")
    with pytest.raises(NotFound):
        await host.runtime.reopen_log("c1")


async def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(host: Host, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(tmp_path)], check=True)
    try:
        bundle = replace(
            host.bundle("c1", "sh", "-c", "seq 1 200000; read x; echo end", stdin=True), log_path=tmp_path / "log"
        )
        files = LogFiles(tmp_path / "log", LogLimits())
        files.begin()
        (tmp_path / "ballast").write_bytes(bytes(256 << 10))
        await host.runtime.create(replace(bundle, log_path=files.path))
        attached = await host.attach("c1")
        await host.runtime.start("c1")
        await until(attached, b"\n200000\n")
        (tmp_path / "ballast").unlink()
        await attached.write(b"go\n")
        assert (await host.runtime.wait("c1")).code == 0
        said = b"".join([c async for batch in logs.read(files, LogQuery()) for _, c in batch])
        assert said.startswith(b"1\n2\n3\n")
        assert said.endswith(b"end\n")
        await host.delete("c1")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
