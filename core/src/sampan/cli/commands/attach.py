"""`sampan attach` and `sampan start`."""

from __future__ import annotations

import contextlib
from typing import Any

from sampan.cli.attached import attach_to, checked_keys, exit_status, stay, wait_for
from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.errors import CliError, ConnectionFailed
from sampan.cli.session import Session
from sampan.cli.signals import forwarded
from sampan.cli.streaming import check_tty
from sampan.cli.terminal import STDERR, STDIN, STDOUT


def start(session: Session, options: Options) -> int:
    """Start containers; with --attach or --interactive, start one and attach to it."""
    if options.on("attach") or options.on("interactive"):
        if len(options.args) > 1:
            raise CliError("you cannot start and attach multiple containers at once")
        return _start_attached(session, options)
    failed = []
    for name in options.args:
        try:
            session.client.call("POST", f"/containers/{segment(name)}/start", query=_checkpoint(options))
            session.say(name)
        except ConnectionFailed:
            raise
        except CliError as error:
            session.warn(str(error))
            failed.append(name)
    if failed:
        raise CliError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_attached(session: Session, options: Options) -> int:
    keys = checked_keys(session, options)
    document = session.client.call("GET", f"/containers/{segment(options.args[0])}/json")
    identity, tty = document["Id"], document["Config"]["Tty"]
    streams = _streams(document, stdin=options.on("interactive"))
    with contextlib.nullcontext() if tty else forwarded(session.client, identity):
        attachment = attach_to(session, identity, streams, tty=tty, keys=keys)
        removed = bool((document.get("HostConfig") or {}).get("AutoRemove"))
        waiting = wait_for(session, identity, "removed" if removed else "next-exit")
        try:
            session.client.call("POST", f"/containers/{identity}/start", query=_checkpoint(options))
        except CliError:
            attachment.close()
            if removed:
                waiting.read()
            raise
        detached = stay(session, f"/containers/{identity}", attachment, tty=tty)
    return 0 if detached else exit_status(waiting)


def _checkpoint(options: Options) -> dict[str, str]:
    """The checkpoint to start from, which `sampand` refuses, but an experimental Docker daemon may support."""
    flags = ("checkpoint", "checkpoint-dir")
    return {flag: value for flag in flags if (value := options.text(flag))}


def attach(session: Session, options: Options) -> int:
    """Attach to a running container until it ends; its exit status is ours."""
    keys = checked_keys(session, options)
    document = _running(session, options.args[0])
    identity, tty = document["Id"], document["Config"]["Tty"]
    check_tty(stdin=not options.on("no-stdin"), tty=tty)
    waiting = wait_for(session, identity, "")
    streams = _streams(document, stdin=not options.on("no-stdin"))
    with forwarded(session.client, identity) if options.on("sig-proxy") and not tty else contextlib.nullcontext():
        attachment = attach_to(session, identity, streams, tty=tty, keys=keys)
        # It may have ended in between, and there would never be any output.
        _running(session, identity)
        if stay(session, f"/containers/{identity}", attachment, tty=tty, redraw=True):
            raise CliError("read escape sequence")
    return exit_status(waiting)


def _streams(document: Any, *, stdin: bool) -> list[int]:
    return [STDIN, STDOUT, STDERR] if stdin and document["Config"]["OpenStdin"] else [STDOUT, STDERR]


def _running(session: Session, name: str) -> Any:
    document = session.client.call("GET", f"/containers/{segment(name)}/json")
    state = document["State"]
    if not state["Running"]:
        raise CliError("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise CliError("You cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise CliError("You cannot attach to a restarting container, wait until it is running")
    return document


_DETACH_KEYS = Flag("detach-keys", "Override the key sequence for detaching a container")

ATTACH = Command(
    "attach [OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    attach,
    (
        _DETACH_KEYS,
        Flag("no-stdin", "Do not attach STDIN", SWITCH),
        Flag("sig-proxy", "Proxy all received signals to the process", SWITCH, default=True),
    ),
    least=1,
    most=1,
)
START = Command(
    "start [OPTIONS] CONTAINER [CONTAINER...]",
    "Start one or more stopped containers",
    start,
    (
        Flag("attach", "Attach STDOUT/STDERR and forward signals", SWITCH, "a"),
        Flag("checkpoint", "Restore from this checkpoint (not with sampand, which has none)"),
        Flag("checkpoint-dir", "Use a custom checkpoint storage directory"),
        _DETACH_KEYS,
        Flag("interactive", "Attach container's STDIN", SWITCH, "i"),
    ),
    least=1,
    most=None,
)
