"""Containers run by an OCI runtime (runc, crun…) under conmon.

What lies in the exec root, all of it gone with the boot:

    state/NAME/            the state of the OCI runtime NAME
    containers/ID/         record.json, init.pid, conmon.pid, log (the runtime's errors)
    containers/ID/ID       the exit code, once init has ended
    containers/ID/exec/ID  of a running exec
    tmp/                   console sockets, for a moment
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.runtime import conmon, execution, gate, kernel
from sampan.runtime.attach import SocketAttached, connect
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.control import resize_exec, tell_monitor
from sampan.runtime.execution import ExecProcess, ExecRequest, Started
from sampan.runtime.failure import create_failure, last_error
from sampan.runtime.interface import Bundle, ExitStatus, Tree
from sampan.runtime.namespace import RuntimeNamespace
from sampan.runtime.orphans import OrphanReaper
from sampan.runtime.probe import FoundRuntime
from sampan.runtime.record import Process, Record
from sampan.runtime.tree import join_tree, make_tree
from sampan.runtime.watched import WatchedContainer
from sampan.syscalls.pidfd import pidfd_open_checked, pidfd_send_signal, start_time
from sampan.syscalls.process import reap, set_child_subreaper

_KILLED = 128 + signal.SIGKILL
_UNKNOWN_EXIT = 255
_KILL_PATIENCE_S = 10
_RECURSIVE_SINCE = "5.12"  # mount_setattr(2)


class OciRuntime:
    """`Runtime` on the real kernel.

    `runtimes` are those found, by their name in the configuration; what has a problem is left out.
    All its coroutines must run in one loop.
    """

    def __init__(
        self,
        exec_root: Path,
        namespace: RuntimeNamespace,
        *,
        runtimes: Mapping[str, FoundRuntime],
        default_runtime: str,
        conmon_path: Path,
    ) -> None:
        self._containers_dir = exec_root / "containers"
        self._tmp_dir = exec_root / "tmp"
        self._namespace = namespace
        self._conmon = conmon_path
        self._states_dir = exec_root / "state"
        self._runtimes: dict[str, RuntimeCommand] = {}
        self._offer(runtimes, default_runtime)
        self._watched: dict[str, WatchedContainer] = {}
        self._orphans = OrphanReaper(self._watched_pids)

    def offer(self, runtimes: Mapping[str, FoundRuntime], default_runtime: str) -> None:
        """Offer these too from now on, or in place of what had their names; one that is offered no more still ends
        what it runs."""
        self._offer(runtimes, default_runtime)
        self._make_states()

    def _offer(self, runtimes: Mapping[str, FoundRuntime], default_runtime: str) -> None:
        self._default = default_runtime
        self._runtimes |= {
            name: RuntimeCommand(name, Path(one.path), one.arguments, self._states_dir / name, one.kind)
            for name, one in runtimes.items()
            if one.problem is None
        }

    def _make_states(self) -> None:
        for command in self._runtimes.values():
            command.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self) -> None:
        """Make the directories, and this process the one that gets our orphans: execs, and conmon's if it dies."""
        for directory in (self._containers_dir, self._tmp_dir):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_states()
        for leftover in self._tmp_dir.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        set_child_subreaper()
        self._orphans.start()

    def close(self) -> None:
        """Stop watching. The containers go on."""
        self._orphans.stop()
        for container in self._watched.values():
            container.release()
        self._watched.clear()

    async def create(self, bundle: Bundle) -> int:
        if self._dir(bundle.id).exists():
            raise Conflict(f"container with given ID already exists: {bundle.id}")
        command = self._command(bundle.runtime)
        try:
            pid = await self._namespace.run_in_new_mounts(bundle.dir, lambda: self._create(bundle, command))
        except Exception:  # not if cancelled: the thread goes on, and what it makes is the next `delete`'s
            await self._erase(bundle.id)
            raise
        self._adopt_if_there(bundle.id)
        return pid

    async def start(self, id: str) -> None:
        container = self._container(id)
        command = self._command(container.record.runtime)
        fifo = command.state_dir / id / "exec.fifo"
        open_gate = gate.OPENERS.get(command.kind)
        if open_gate is not None and fifo.exists() and not container.record.hooks:
            await open_gate(fifo, container.exit)
            return
        words = await self._namespace.run(lambda: command.run(self._log(id), "start", id))
        if words is not None:
            raise create_failure(words)

    async def wait(self, id: str) -> ExitStatus:
        return await asyncio.shield(self._container(id).exit)

    async def kill(self, id: str, signal: int) -> None:
        container = self._container(id)
        try:
            if container.exit.done() or container.init_pidfd is None:
                raise ProcessLookupError
            pidfd_send_signal(container.init_pidfd, signal)
        except ProcessLookupError:
            raise Conflict(f"Container {id} is not running") from None

    async def delete(self, id: str) -> None:
        if id not in self._watched:
            self._adopt_if_there(id)
        if id in self._watched:
            await self._end(self._watched[id])
            self._watched.pop(id).release()
        await self._erase(id)

    async def attach(self, id: str) -> SocketAttached:
        container = self._container(id)
        try:
            connection = await asyncio.to_thread(connect, container.bundle)
        except OSError:
            raise Conflict(f"Container {id} is not running") from None
        return SocketAttached(connection, park=container.park, widen=container.widen)

    async def resize(self, id: str, height: int, width: int, exec_id: str | None = None) -> None:
        container = self._container(id)
        if exec_id is not None:
            resize_exec(container, exec_id, height, width)
            return
        if not container.record.terminal:
            raise Conflict(f"Container {id} has no terminal")
        await tell_monitor(container, f"{conmon.RESIZE} {height} {width}\n")

    async def reopen_log(self, id: str) -> None:
        await tell_monitor(self._container(id), f"{conmon.REOPEN_LOG} 0 0\n")

    async def exec(
        self, id: str, exec_id: str, make_process: Callable[[], dict[str, Any]], *, terminal: bool, stdin: bool
    ) -> ExecProcess:
        container = self._container(id)
        if container.exit.done():
            raise Conflict(f"Container {id} is not running")
        if exec_id in container.execs:
            raise Conflict(f"Error: Exec command {exec_id} is already running")
        command = self._command(container.record.runtime)
        directory = self._dir(id) / "exec" / exec_id

        def start() -> Started:
            request = ExecRequest(command, id, directory, self._tmp_dir, make_process(), terminal, stdin)
            return execution.start(request)

        with self._orphans.sparing():
            container.execs[exec_id] = started = ExecProcess(await self._namespace.run(start))
        started.when_ended(lambda: container.execs.pop(exec_id, None))
        return started

    def why_not_recursive(self, runtime: str | None) -> str | None:
        command = self._command(runtime)
        if not kernel.is_at_least(_RECURSIVE_SINCE):
            return f"rro is not supported: kernel is older than {_RECURSIVE_SINCE}"
        return None if command.kind in gate.OPENERS else f'rro is not supported by runtime "{command.name}"'

    async def adopt(self, id: str) -> int | None:
        if id not in self._watched and not self._adopt_if_there(id):
            raise NotFound(f"No such container: {id}")
        container = self._watched[id]
        if container.exit.done() or container.init_pidfd is None or container.record.init is None:
            return None
        return container.record.init.pid

    def list(self) -> list[str]:
        return sorted(path.name for path in self._containers_dir.iterdir())

    # Creating: in a thread of its own, see RuntimeNamespace.run_in_new_mounts.

    def _create(self, bundle: Bundle, command: RuntimeCommand) -> int:
        directory = self._dir(bundle.id)
        directory.mkdir(mode=0o700)
        record = Record(
            bundle.id,
            str(bundle.dir),
            command.name,
            bundle.terminal,
            hooks="hooks" in bundle.spec,
            own_cgroup=not bundle.spec["linux"].get("cgroupsPath"),
            stdin_once=conmon.closes_stdin(bundle),
        )
        record.save(directory)
        self._write_bundle(bundle, command)
        monitor = self._monitor(bundle, command)
        try:
            pid = conmon.start(monitor)
        except SystemFailure as error:
            words, command_line = last_error(self._log(bundle.id)), bundle.spec["process"]["args"]
            raise (create_failure(words, command_line[0]) if words else error) from None
        conmon_pid = int(monitor.conmon_pid_file.read_text())
        replace(record, init=_process(pid), conmon=_process(conmon_pid)).save(directory)
        return pid

    def _write_bundle(self, bundle: Bundle, command: RuntimeCommand) -> None:
        for tree in (Tree("rootfs", bundle.rootfs), *bundle.trees):
            if tree.owner is None:
                make_tree(tree, bundle.dir)
            else:
                self._join_tree(tree.owner, tree.name, bundle.dir / tree.name)
        spec = bundle.spec
        if path := spec["linux"].get("cgroupsPath") or self._namespace.own_cgroup(bundle.id):
            spec = {**spec, "linux": {**spec["linux"], "cgroupsPath": self._namespace.cgroups_path(path)}}
        (bundle.dir / "config.json").write_text(json.dumps(command.fitted(spec)))

    def _join_tree(self, owner: str, name: str, place: Path) -> None:
        record = self._container(owner).record
        theirs = Path(record.bundle, name)
        if record.conmon is None or not theirs.exists():
            raise NotFound(f"container {owner} has no tree {name}")
        join_tree(record.conmon.pid, theirs, place)

    def _monitor(self, bundle: Bundle, command: RuntimeCommand) -> conmon.Monitor:
        return conmon.Monitor(
            conmon=self._conmon,
            runtime=command.path,
            runtime_args=command.global_arguments(self._log(bundle.id)),
            id=bundle.id,
            bundle=bundle.dir,
            dir=self._dir(bundle.id),
            tmp_dir=self._tmp_dir,
            terminal=bundle.terminal,
            stdin=bundle.stdin,
            stdin_once=conmon.closes_stdin(bundle),
            log_path=bundle.log_path,
            log_max_bytes=bundle.log_max_bytes,
        )

    # Watching: pidfds in the loop.

    def _watch(self, record: Record) -> None:
        loop = asyncio.get_running_loop()
        container = WatchedContainer(record, loop.create_future(), _open(record.init), _open(record.conmon))
        self._watched[record.id] = container
        if container.conmon_pidfd is None:
            self._conmon_ended(container)
        else:
            loop.add_reader(container.conmon_pidfd, self._conmon_ended, container)

    def _conmon_ended(self, container: WatchedContainer) -> None:
        if container.conmon_pidfd is not None:
            asyncio.get_running_loop().remove_reader(container.conmon_pidfd)
            reap(container.conmon_pidfd)
        status = _exit_status(self._dir(container.record.id) / container.record.id)
        if status is not None:
            container.settle(status)
        elif container.init_pidfd is None:
            container.settle(ExitStatus(_UNKNOWN_EXIT, time.time_ns()))
        else:
            self._end_unmonitored(container, container.init_pidfd)

    def _end_unmonitored(self, container: WatchedContainer, init: int) -> None:
        """conmon died before init: stdio and log are lost, so the container must not go on."""
        with contextlib.suppress(ProcessLookupError):
            pidfd_send_signal(init, signal.SIGKILL)
        asyncio.get_running_loop().add_reader(init, self._unmonitored_ended, container, init)

    def _unmonitored_ended(self, container: WatchedContainer, init: int) -> None:
        asyncio.get_running_loop().remove_reader(init)
        code = reap(init)  # it became our child when conmon died, unless that was while no daemon ran
        container.settle(ExitStatus(_KILLED if code is None else code, time.time_ns()))

    def _watched_pids(self) -> set[int]:
        """All that this runtime waits for."""
        records = [container.record for container in self._watched.values()]
        processes = [process for record in records for process in (record.init, record.conmon) if process]
        execs = [running.pid for container in self._watched.values() for running in container.execs.values()]
        return {process.pid for process in processes}.union(execs)

    async def _end(self, container: WatchedContainer) -> None:
        if container.exit.done():
            return
        if container.init_pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                pidfd_send_signal(container.init_pidfd, signal.SIGKILL)
        try:
            await asyncio.wait_for(asyncio.shield(container.exit), _KILL_PATIENCE_S)
        except TimeoutError:
            raise SystemFailure(f"Could not kill container {container.record.id}: it does not end") from None

    def _adopt_if_there(self, id: str) -> bool:
        record = Record.load(self._dir(id))
        if record is None or record.init is None or record.conmon is None:
            return False
        self._watch(record)
        return True

    async def _erase(self, id: str) -> None:
        """Remove what is left of the container, also of one whose creation was cut off."""
        record = Record.load(self._dir(id))
        for command in self._runtimes.values():
            if (command.state_dir / id).exists() and not _is_only_state(record, command):
                words = await self._namespace.run(lambda c=command: c.run(self._log(id), "delete", "--force", id))  # type: ignore[misc]
                if words is not None:
                    raise SystemFailure(f"{command.name} delete: {words}")
        states = [command.state_dir / id for command in self._runtimes.values()]
        await asyncio.to_thread(_remove_trees, [*states, self._dir(id)])
        if record is not None and record.own_cgroup:
            self._namespace.remove_own_cgroup(id)

    # Finding things.

    def _container(self, id: str) -> WatchedContainer:
        try:
            return self._watched[id]
        except KeyError:
            raise NotFound(f"No such container: {id}") from None

    def _command(self, name: str | None) -> RuntimeCommand:
        try:
            return self._runtimes[name or self._default]
        except KeyError:
            raise InvalidArgument(f"unknown or invalid runtime name: {name}") from None

    def _dir(self, id: str) -> Path:
        return self._containers_dir / id

    def _log(self, id: str) -> Path:
        return self._dir(id) / "log"


def _is_only_state(record: Record | None, command: RuntimeCommand) -> bool:
    """Whether the state's directory is all that the runtime keeps of a container that has ended.

    It is if the container was made whole, has no hooks to be run at its end, and its cgroup is somebody else's (runc
    libcontainer/state_linux.go, destroy; crun src/libcrun/container.c, libcrun_container_delete). Not to run the
    program saves the 10 ms that whoever waits for a removal would wait for it.
    """
    return (
        record is not None
        and record.init is not None
        and command.kind in gate.OPENERS
        and not record.hooks
        and not record.own_cgroup
    )


def _remove_trees(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _process(pid: int) -> Process:
    # One that has ended meanwhile gets a start time that nothing has, and is found to be gone.
    return Process(pid, start_time(pid) or 0)


def _open(process: Process | None) -> int | None:
    return None if process is None else pidfd_open_checked(process.pid, process.started)


def _exit_status(file: Path) -> ExitStatus | None:
    try:
        with file.open("rb") as opened:
            return ExitStatus(int(opened.read()), os.fstat(opened.fileno()).st_mtime_ns)
    except (FileNotFoundError, ValueError):
        return None
