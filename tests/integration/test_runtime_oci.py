"""Real containers: conmon, the OCI runtime, a busybox root."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import Mount
from sampan.errdefs import Conflict, NotFound
from sampan.runtime import logs, probe, spec
from sampan.runtime.failure import StartFailure
from sampan.runtime.inotify import Inotify
from sampan.runtime.interface import STDERR, STDOUT, Attached, Bundle
from sampan.runtime.log_files import LogFiles, LogLimits
from sampan.runtime.log_lines import LogQuery
from sampan.runtime.namespace import CGROUP_ROOT, HYBRID_ROOT, RuntimeNamespace, host_kind
from sampan.runtime.oci import OciRuntime
from sampan.runtime.spec import ProcessSettings, SpecMount, SpecSettings
from sampan.runtime.user import User
from sampan.syscalls.pidfd import is_zombie

pytestmark = pytest.mark.root

APPLETS = [
    "sh",
    "true",
    "false",
    "echo",
    "cat",
    "sleep",
    "ls",
    "stty",
    "tty",
    "id",
    "env",
    "head",
    "kill",
    "tr",
    "grep",
    "mount",
    "ping",
    "wc",
]
PATIENCE_S = 20


@pytest.fixture(scope="module")
def rootfs(session_dir: Path) -> Path:
    root = session_dir / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy2("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "plain").write_text("no program")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\n")
    return root


@pytest.fixture(scope="module")
def slice_name(session_dir: Path) -> str:
    return f"/{session_dir.name}-rt"


@pytest.fixture(scope="module")
def namespace(slice_name: str) -> Iterator[RuntimeNamespace]:
    namespace = RuntimeNamespace(slice_name)
    yield namespace
    namespace.close()


@pytest.fixture(scope="module")
def runtimes(namespace: RuntimeNamespace, session_dir: Path) -> dict[str, probe.FoundRuntime]:
    return asyncio.run(probe.find_runtimes(namespace, {}, cache=session_dir / "runtimes.json", work_dir=session_dir))


def make_runtime(exec_root: Path, namespace: RuntimeNamespace, runtimes: dict[str, probe.FoundRuntime]) -> OciRuntime:
    runtime = OciRuntime(
        exec_root,
        namespace,
        runtimes=runtimes,
        default_runtime=probe.default_runtime(runtimes, None),
        conmon_path=Path(shutil.which("conmon") or "conmon"),
    )
    runtime.open()
    return runtime


class Host:
    """A runtime, and short ways to run things in it."""

    def __init__(self, runtime: OciRuntime, work: Path, rootfs: Path, slice_name: str) -> None:
        self.runtime = runtime
        self.work = work
        self.rootfs = rootfs
        self.slice_name = slice_name
        self.attached: list[Attached] = []

    def bundle(self, id: str, *args: str, mounts: tuple[SpecMount, ...] = (), **fields: Any) -> Bundle:
        terminal = fields.get("terminal", False)
        process = fields.pop("process", None) or ProcessSettings(args, ["PATH=/bin"], terminal=terminal)
        settings = SpecSettings(process, hostname=id, mounts=mounts, cgroups_path=f"{self.slice_name}/{id}")
        directory = self.work / "bundles" / id
        directory.mkdir(parents=True, exist_ok=True)
        return Bundle(
            id=id,
            dir=directory,
            spec=spec.build(settings),
            rootfs=(Mount("bind", str(self.rootfs), ("rbind", "ro")),),
            log_path=self.work / f"{id}.log",
            **fields,
        )

    def log(self, id: str) -> LogFiles:
        files = LogFiles(self.work / f"{id}.log", LogLimits())
        files.number_current()
        return files

    async def start(self, id: str, *args: str, **fields: Any) -> Attached:
        await self.runtime.create(self.bundle(id, *args, **fields))
        attached = await self.attach(id)
        await self.runtime.start(id)
        return attached

    async def attach(self, id: str) -> Attached:
        self.attached.append(await self.runtime.attach(id))
        return self.attached[-1]

    async def delete(self, id: str) -> None:
        """As the daemon does it: the cgroup is the resource driver's."""
        await self.runtime.delete(id)
        root = HYBRID_ROOT if host_kind() == "hybrid" else CGROUP_ROOT
        with suppress(FileNotFoundError):
            (root / self.slice_name.lstrip("/") / id).rmdir()

    async def run(self, id: str, *args: str, **fields: Any) -> tuple[int, dict[int, bytes]]:
        attached = await self.start(id, *args, **fields)
        output = await everything(attached)
        await attached.close()
        status = await self.runtime.wait(id)
        await self.delete(id)
        return status.code, output

    async def exec(self, id: str, *args: str, **fields: Any) -> tuple[int, dict[int, bytes]]:
        process = spec.build_process(ProcessSettings(args, ["PATH=/bin"], **fields))
        running = await self.runtime.exec(id, f"x{os.urandom(4).hex()}", lambda: process, terminal=False, stdin=False)
        output = await everything(running.attached)
        return await running.wait(), output

    async def end(self) -> None:
        for attached in self.attached:
            await attached.close()
        for id in self.runtime.list():
            await self.delete(id)
        self.runtime.close()


@pytest.fixture
async def host(
    session_dir: Path,
    rootfs: Path,
    slice_name: str,
    namespace: RuntimeNamespace,
    runtimes: dict[str, probe.FoundRuntime],
) -> AsyncIterator[Host]:
    work = session_dir / f"rt{os.urandom(3).hex()}"
    runtime = make_runtime(work / "run", namespace, runtimes)
    host = Host(runtime, work, rootfs, slice_name)
    yield host
    await host.end()
    shutil.rmtree(work)


async def everything(attached: Attached) -> dict[int, bytes]:
    output = {STDOUT: b"", STDERR: b""}
    async with asyncio.timeout(PATIENCE_S):
        while item := await attached.read():
            output[item[0]] += item[1]
    return output


async def until(attached: Attached, words: bytes) -> bytes:
    """Read until `words` have come."""
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while words not in seen:
            item = await attached.read()
            assert item is not None, f"the output ended with {seen!r}, without {words!r}"
            seen += item[1]
    return seen


async def test_output_comes_on_its_stream_and_the_exit_code_is_the_commands(host: Host) -> None:
    code, output = await host.run("c1", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, output) == (3, {STDOUT: b"out\n", STDERR: b"err\n"})


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


async def test_the_defaults_are_dockers(host: Host) -> None:
    _, output = await host.run("c1", "sh", "-c", "grep -E 'CapInh|CapEff|Seccomp:' /proc/self/status; mount")
    lines = output[STDOUT].decode().splitlines()
    assert lines[0].split() == ["CapInh:", "0000000000000000"]
    assert lines[1].split() == ["CapEff:", "00000000a80425fb"]
    assert lines[2].split() == ["Seccomp:", "2"]
    assert any(line.startswith("proc on /proc/sys type proc (ro") for line in lines)


async def test_a_user_without_privileges_can_open_its_own_stdout(host: Host) -> None:
    process = ProcessSettings(["sh", "-c", "id -u; echo hi >/dev/stdout"], ["PATH=/bin"], user=User(33, 33))
    assert (await host.run("c1", process=process))[1] == {STDOUT: b"33\nhi\n", STDERR: b""}


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
            await asyncio.sleep(0.01)  # no event tells of a zombie that goes


def zombies() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if is_zombie(int(pid))]


async def test_containers_are_created_side_by_side(host: Host) -> None:
    results = await asyncio.gather(*(host.run(f"c{number}", "echo", str(number)) for number in range(12)))
    assert [output[STDOUT] for _, output in results] == [f"{number}\n".encode() for number in range(12)]


async def test_paths_need_not_be_ascii(host: Host) -> None:
    log = host.work / "ünï.log"
    await host.runtime.create(replace(host.bundle("c1", "echo", "hi"), log_path=log))
    await host.runtime.start("c1")
    assert (await host.runtime.wait("c1")).code == 0
    assert log.read_text().endswith(" F hi\n")


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


# A daemon that is started again: the first one is another process, killed without warning.

FIRST_DAEMON = """
import asyncio, sys
from tests.integration.test_runtime_oci import *
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
    end_stdin_of(host, "ends")
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


def end_stdin_of(host: Host, id: str) -> None:
    """End `cat` in the container, so that its shell goes on to its exit."""
    init = json.loads((host.work / f"run/containers/{id}/record.json").read_text())["init"]["pid"]
    children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)


async def ended(pid: int) -> None:
    """Wait for a process that is not ours."""
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
