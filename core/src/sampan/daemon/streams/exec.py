"""exec_create, exec_start, exec_resize and exec_inspect: additional processes in a running container."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from sampan.daemon.container import Container, Status
from sampan.daemon.settings import process
from sampan.daemon.streams.detach import DEFAULT_KEYS, parse_keys
from sampan.daemon.streams.pump import Wanted, pump
from sampan.engine import Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SampanError
from sampan.models import CreateExec, ExecCreated, ExecInspect, ExecProcessConfig, InspectExec, ResizeExec, StartExec
from sampan.runtime.failure import StartFailure
from sampan.runtime.interface import STDOUT, Exec
from sampan.tasks import settled

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_UNKNOWN_FAILURE = 126
_END_PATIENCE_S = 2.0
_REMEMBERED_S = 300.0  # at least as long as Docker (moby daemon/exec.go, execCommandGC)


class ExecInstance:
    """One exec: its request and, once started, its process. It is remembered for a while after its end."""

    def __init__(self, container: Container, request: CreateExec) -> None:
        self.id = secrets.token_hex(32)
        self.container = container
        self.request = request
        self.command = request.cmd or []
        self.started = False
        self.running = False
        self.pid = 0
        self.exit_code: int | None = None
        self.ended = asyncio.Event()


class Execs:
    """All execs since the daemon started, by ID."""

    def __init__(self) -> None:
        self._execs: dict[str, ExecInstance] = {}
        self._ended: deque[tuple[float, str]] = deque()

    def add(self, instance: ExecInstance) -> None:
        """Remember a new exec."""
        self._execs[instance.id] = instance

    def get(self, id: str) -> ExecInstance:
        """Raises `NotFound` with Docker's message."""
        try:
            return self._execs[id]
        except KeyError:
            raise NotFound(f"No such exec instance: {id}") from None

    def of(self, container: Container) -> list[str]:
        """The IDs of a container's running execs."""
        return [one.id for one in self._execs.values() if one.container is container and one.running]

    def note_end(self, instance: ExecInstance) -> None:
        """Schedule a finished exec to be forgotten, and forget those that are due."""
        now = time.monotonic()
        self._ended.append((now, instance.id))
        while now - self._ended[0][0] > _REMEMBERED_S:
            self._execs.pop(self._ended.popleft()[1], None)

    def forget_unstarted(self, container: Container) -> None:
        """Forget the execs of an ended container that never started. Those that ran can still be inspected."""
        for one in [one for one in self._execs.values() if one.container is container and not one.started]:
            del self._execs[one.id]

    def forget(self, container_id: str) -> None:
        """Forget all execs of a container."""
        self._execs = {id: one for id, one in self._execs.items() if one.container.id != container_id}


async def exec_create(daemon: Daemon, job: Job[CreateExec]) -> ExecCreated:
    """Register what is to be run; nothing runs yet."""
    request = job.request
    if not request.cmd:
        raise InvalidArgument("No exec command specified")
    container = _active(daemon.containers.get(request.container), request.container)
    _keys(request)
    return ExecCreated(id=register(daemon, container, request).id)


def register(daemon: Daemon, container: Container, request: CreateExec) -> ExecInstance:
    """Register an exec that is to be started, and publish the event."""
    instance = ExecInstance(container, request)
    daemon.execs.add(instance)
    daemon.publish(container, f"exec_create: {_told(instance)}", execID=instance.id)
    return instance


async def begin(daemon: Daemon, instance: ExecInstance) -> Exec:
    """Start an exec on the daemon's own behalf. Must not be cancelled halfway."""
    instance.started = True
    return await _start(daemon, instance, StartExec(id=instance.id), stdin=False)


async def exec_start(daemon: Daemon, job: Job[StartExec]) -> None:
    """Run it: detached, or attached to the caller's streams until it ends.

    If the command can't be started, an attached caller is told as in Docker: on stdout.
    """
    instance = daemon.execs.get(job.request.id)
    _active(instance.container, instance.container.id)
    if instance.started:
        state = "is already running" if instance.running else "has already run"
        raise Conflict(f"exec command {instance.id} {state}")
    instance.started = True
    if job.request.detach or job.streams is None:
        running = await _launch(daemon, instance, job.request, stdin=False)
        await running.attached.close()
        return
    await job.streams.accept(multiplexed=not job.request.tty)
    try:
        running = await _launch(daemon, instance, job.request, stdin=instance.request.attach_stdin)
    except SampanError as error:
        await job.streams.write(STDOUT, f"{error}\r\n".encode())
        return
    if await pump(job.streams, running.attached, _wanted(instance.request)):
        await _await_end(instance)
    elif instance.running:
        daemon.publish(instance.container, "exec_detach", execID=instance.id)


def _told(instance: ExecInstance) -> str:
    """The command as shown in an event: a space follows the program even without arguments (moby daemon/exec.go)."""
    program, *arguments = instance.command
    return f"{program} {' '.join(arguments)}"


async def exec_resize(daemon: Daemon, job: Job[ResizeExec]) -> None:
    """Set the size of the exec's terminal, if it has one, as Docker does."""
    instance = daemon.execs.get(job.request.id)
    if not instance.running:
        raise Conflict(f"exec {instance.id} is not running")
    if instance.request.tty:
        await daemon.runtime.resize(instance.container.id, job.request.height, job.request.width, instance.id)


async def exec_inspect(daemon: Daemon, job: Job[InspectExec]) -> ExecInspect:
    """The state of an exec."""
    instance = daemon.execs.get(job.request.id)
    request, command = instance.request, instance.command
    return ExecInspect(
        id=instance.id,
        running=instance.running,
        exit_code=instance.exit_code,
        process_config=ExecProcessConfig(
            tty=request.tty,
            entrypoint=command[0],
            arguments=command[1:],
            privileged=request.privileged,
            user=request.user or instance.container.record.config.user,
        ),
        open_stdin=request.attach_stdin,
        open_stderr=request.attach_stderr,
        open_stdout=request.attach_stdout,
        container_id=instance.container.id,
        detach_keys=base64.b64encode(_keys(request)).decode(),
        pid=instance.pid,
    )


async def _launch(daemon: Daemon, instance: ExecInstance, start: StartExec, *, stdin: bool) -> Exec:
    """Start the process. If the caller goes away in the meantime, the process still runs and is supervised."""
    starting = asyncio.ensure_future(_start(daemon, instance, start, stdin=stdin))
    try:
        await settled(starting)
    except asyncio.CancelledError:
        if starting.exception() is None:
            await starting.result().attached.close()
        raise
    return starting.result()


async def _start(daemon: Daemon, instance: ExecInstance, start: StartExec, *, stdin: bool) -> Exec:
    container, request = instance.container, instance.request
    try:
        make = partial(process.exec_process, container, request, console_size=start.console_size)
        running = await daemon.runtime.exec(container.id, instance.id, make, terminal=request.tty, stdin=stdin)
    except SampanError as error:
        instance.exit_code = error.exit_code if isinstance(error, StartFailure) else _UNKNOWN_FAILURE
        daemon.execs.note_end(instance)
        raise
    instance.running, instance.pid = True, running.pid
    daemon.publish(container, f"exec_start: {_told(instance)}", execID=instance.id)
    daemon.spawn(_supervise(daemon, instance, running), f"exec {instance.id[:12]}")
    return running


async def _supervise(daemon: Daemon, instance: ExecInstance, running: Exec) -> None:
    instance.exit_code = await running.wait()
    instance.running = False
    instance.ended.set()
    daemon.execs.note_end(instance)
    daemon.publish(instance.container, "exec_die", execID=instance.id, exitCode=str(instance.exit_code))


async def _await_end(instance: ExecInstance) -> None:
    """Wait briefly: clients ask for the exit code once the streams end, which is just before the process does."""
    with contextlib.suppress(TimeoutError):  # it keeps running without its streams
        async with asyncio.timeout(_END_PATIENCE_S):
            await instance.ended.wait()


def _wanted(request: CreateExec) -> Wanted:
    return Wanted(
        stdin=request.attach_stdin,
        stdout=request.attach_stdout,
        stderr=request.attach_stderr,
        close_stdin=not request.tty,
        detach_keys=(_keys(request) or parse_keys(DEFAULT_KEYS)) if request.tty else None,
    )


def _keys(request: CreateExec) -> bytes:
    """The detach keys asked for, if any."""
    try:
        return parse_keys(request.detach_keys) if request.detach_keys else b""
    except InvalidArgument:
        raise InvalidArgument(f"Invalid escape keys ({request.detach_keys}) provided") from None


def _active(container: Container, name: str) -> Container:
    if container.state.status is Status.PAUSED:
        raise Conflict(f"Container {name} is paused, unpause the container before exec")
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    if not container.running:
        raise Conflict(f"container {container.id} is not running")
    return container
