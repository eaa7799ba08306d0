"""Containers run by an OCI runtime (runc, crun…) under conmon."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sampan.errdefs import Conflict, InvalidArgument, NotFound, SystemFailure
from sampan.runtime import conmon, execution, gate, kernel
from sampan.runtime.attach import SocketAttached, connect, until_accepted
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.control import resize_exec, tell_monitor
from sampan.runtime.creation import Creation
from sampan.runtime.execution import ExecProcess, ExecRequest, Started
from sampan.runtime.failure import create_failure
from sampan.runtime.interface import Bundle, ExitStatus
from sampan.runtime.layout import Layout
from sampan.runtime.namespace import RuntimeNamespace
from sampan.runtime.orphans import OrphanReaper
from sampan.runtime.probe import FoundRuntime
from sampan.runtime.record import Record
from sampan.runtime.watch import Watch
from sampan.syscalls.pidfd import pidfd_send_signal
from sampan.syscalls.process import set_child_subreaper

_RECURSIVE_SINCE = "5.12"  # mount_setattr(2)


class OciRuntime:
    """`Runtime` on the real kernel.

    `runtimes` are the runtimes found, by their name in the configuration; those with a problem are ignored. All
    coroutines must run in the same event loop.
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
        self._layout = Layout(exec_root)
        self._namespace = namespace
        self._runtimes: dict[str, RuntimeCommand] = {}
        self._offer(runtimes, default_runtime)
        self._watch = Watch(self._layout)
        self._creation = Creation(self._layout, namespace, conmon_path, lambda id: self._watch.get(id).record)
        self._orphans = OrphanReaper(self._watch.pids)

    def offer(self, runtimes: Mapping[str, FoundRuntime], default_runtime: str) -> None:
        """Add these runtimes, or replace those of the same name; others stay, to end what they run."""
        self._offer(runtimes, default_runtime)
        self._make_states()

    def _offer(self, runtimes: Mapping[str, FoundRuntime], default_runtime: str) -> None:
        self._default = default_runtime
        self._runtimes |= {
            name: RuntimeCommand(name, Path(one.path), one.arguments, self._layout.state(name), one.kind)
            for name, one in runtimes.items()
            if one.problem is None
        }

    def _make_states(self) -> None:
        for command in self._runtimes.values():
            command.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self) -> None:
        """Create the directories, and make this process the reaper of our orphans: execs, and conmon's if it dies."""
        for directory in (self._layout.containers, self._layout.tmp):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_states()
        for leftover in self._layout.tmp.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
        set_child_subreaper()
        self._orphans.start()

    def close(self) -> None:
        """Stop watching. The containers keep running."""
        self._orphans.stop()
        self._watch.close()

    async def create(self, bundle: Bundle) -> int:
        if self._layout.container(bundle.id).exists():
            raise Conflict(f"container with given ID already exists: {bundle.id}")
        command = self._command(bundle.runtime)
        try:
            pid = await self._namespace.run_in_new_mounts(bundle.dir, lambda: self._creation.create(bundle, command))
        except Exception:  # not if cancelled: the thread continues, and `delete` removes what it creates
            await self._erase(bundle.id)
            raise
        self._adopt_if_there(bundle.id)
        return pid

    async def start(self, id: str) -> None:
        container = self._watch.get(id)
        command = self._command(container.record.runtime)
        fifo = command.state_dir / id / "exec.fifo"
        open_gate = gate.OPENERS.get(command.kind)
        if open_gate is not None and fifo.exists() and not container.record.hooks:
            await open_gate(fifo, container.exit)
            return
        words = await self._namespace.run(lambda: command.run(self._layout.log(id), "start", id))
        if words is not None:
            raise create_failure(words)

    async def wait(self, id: str) -> ExitStatus:
        return await asyncio.shield(self._watch.get(id).exit)

    async def kill(self, id: str, signal: int) -> None:
        container = self._watch.get(id)
        try:
            if container.exit.done() or container.init_pidfd is None:
                raise ProcessLookupError
            pidfd_send_signal(container.init_pidfd, signal)
        except ProcessLookupError:
            raise Conflict(f"Container {id} is not running") from None

    async def delete(self, id: str) -> None:
        if id not in self._watch:
            self._adopt_if_there(id)
        if id in self._watch:
            await self._watch.end(self._watch.get(id))
            self._watch.forget(id)
        await self._erase(id)

    async def attach(self, id: str) -> SocketAttached:
        container = self._watch.get(id)
        try:
            connection = await asyncio.to_thread(connect, container.bundle)
        except OSError:
            raise Conflict(f"Container {id} is not running") from None
        attached = SocketAttached(connection, park=container.park, widen=container.widen)
        try:
            await until_accepted(connection, container.exit)
        except BaseException:
            await attached.close()
            raise
        return attached

    async def resize(self, id: str, height: int, width: int, exec_id: str | None = None) -> None:
        container = self._watch.get(id)
        if exec_id is not None:
            resize_exec(container, exec_id, height, width)
            return
        if not container.record.terminal:
            raise Conflict(f"Container {id} has no terminal")
        await tell_monitor(container, f"{conmon.RESIZE} {height} {width}\n")

    async def reopen_log(self, id: str) -> None:
        await tell_monitor(self._watch.get(id), f"{conmon.REOPEN_LOG} 0 0\n")

    async def exec(
        self, id: str, exec_id: str, make_process: Callable[[], dict[str, Any]], *, terminal: bool, stdin: bool
    ) -> ExecProcess:
        container = self._watch.get(id)
        if container.exit.done():
            raise Conflict(f"Container {id} is not running")
        if exec_id in container.execs:
            raise Conflict(f"Error: Exec command {exec_id} is already running")
        command = self._command(container.record.runtime)
        directory = self._layout.exec(id, exec_id)

        def start() -> Started:
            request = ExecRequest(command, id, directory, self._layout.tmp, make_process(), terminal, stdin)
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
        if id not in self._watch and not self._adopt_if_there(id):
            raise NotFound(f"No such container: {id}")
        container = self._watch.get(id)
        if container.exit.done() or container.init_pidfd is None or container.record.init is None:
            return None
        return container.record.init.pid

    def list(self) -> list[str]:
        return sorted(path.name for path in self._layout.containers.iterdir())

    def _adopt_if_there(self, id: str) -> bool:
        record = Record.load(self._layout.container(id))
        if record is None or record.init is None or record.conmon is None:
            return False
        self._watch.add(record)
        return True

    async def _erase(self, id: str) -> None:
        """Remove what is left of the container, even if its creation was interrupted."""
        record = Record.load(self._layout.container(id))
        for command in self._runtimes.values():
            if (command.state_dir / id).exists() and not _is_only_state(record, command):
                await self._have_deleted(id, command)
        states = [command.state_dir / id for command in self._runtimes.values()]
        await asyncio.to_thread(_remove_trees, [*states, self._layout.container(id)])
        if record is not None and record.own_cgroup:
            self._namespace.remove_own_cgroup(id)

    async def _have_deleted(self, id: str, command: RuntimeCommand) -> None:
        words = await self._namespace.run(lambda: command.run(self._layout.log(id), "delete", "--force", id))
        if words is not None:
            raise SystemFailure(f"{command.name} delete: {words}")

    def _command(self, name: str | None) -> RuntimeCommand:
        try:
            return self._runtimes[name or self._default]
        except KeyError:
            raise InvalidArgument(f"unknown or invalid runtime name: {name}") from None


def _is_only_state(record: Record | None, command: RuntimeCommand) -> bool:
    """Whether the state directory is all that the runtime still has of an ended container.

    It is if the container was created completely, has no hooks to run at its end, and its cgroup belongs to someone
    else (runc libcontainer/state_linux.go, destroy; crun src/libcrun/container.c, libcrun_container_delete). Then the
    program is not run, which saves 10 ms for each removal.
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
