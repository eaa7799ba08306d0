"""`sampan run` and `sampan create`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.cli.attached import attach_to, checked_keys, exit_status, stay, wait_for
from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.create.body import create_body
from sampan.cli.create.flags import CREATE_FLAGS
from sampan.cli.errors import CliError, DaemonError
from sampan.cli.reference import check_reference, familiar, with_default_tag
from sampan.cli.session import PROGRAM, Session
from sampan.cli.signals import forwarded
from sampan.cli.streaming import check_tty

_NOT_FOUND = ("executable file not found", "no such file or directory", "system cannot find the file specified")
_NOT_INVOKABLE = ("permission denied", "is a directory")
_STREAMS = ("AttachStdin", "AttachStdout", "AttachStderr")
_PULL_POLICIES = ("always", "missing", "never", "")


def create(session: Session, options: Options) -> None:
    """Create a container and print its ID."""
    body = _checked_body("create", session, options)
    session.say(_create(session, options, body))


def run(session: Session, options: Options) -> int:
    """Create a container, start it, and stay attached until it ends, unless `--detach`."""
    body = _checked_body("run", session, options)
    _prepare_streams(session, body, options)
    with _reported():
        container_id = _create(session, options, body)
    if not any(body[name] for name in _STREAMS):
        with _reported():
            session.client.call("POST", f"/containers/{container_id}/start")
        session.say(container_id)
        return 0
    proxy = options.on("sig-proxy")
    with forwarded(session.client, container_id) if proxy else contextlib.nullcontext():
        return _run_attached(session, options, container_id, body)


def _run_attached(session: Session, options: Options, container_id: str, body: dict[str, Any]) -> int:
    path, tty = f"/containers/{container_id}", body["Tty"]
    streams = [number for number, name in enumerate(_STREAMS) if body[name]]
    attachment = attach_to(session, container_id, streams, tty=tty, keys=checked_keys(session, options))
    waiting = wait_for(session, container_id, "removed" if options.on("rm") else "next-exit")
    try:
        session.client.call("POST", f"{path}/start")
    except CliError as error:
        attachment.close()
        if options.on("rm"):
            waiting.read()  # wait until the daemon has removed it
        raise _run_failure(error) from None
    detached = stay(session, path, attachment, tty=tty, ended=waiting.connection.fileno())
    return 0 if detached else exit_status(waiting)


def _checked_body(command: str, session: Session, options: Options) -> dict[str, Any]:
    policy = options.text("pull")
    try:
        if policy not in _PULL_POLICIES:
            raise ValueError(f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"')
        return create_body(session, options)
    except ValueError as error:
        raise CliError(_explained(str(error), command), 125) from None


def _prepare_streams(session: Session, body: dict[str, Any], options: Options) -> None:
    if options.on("detach"):
        if options.texts("attach"):
            raise CliError("conflicting options: cannot specify both --attach and --detach")
        body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
        return

    check_tty(stdin=body["AttachStdin"], tty=body["Tty"])
    checked_keys(session, options)


def _create(session: Session, options: Options, body: dict[str, Any]) -> str:
    """Create the container, pulling its image if necessary; returns its ID."""
    with _cid_file(options.text("cidfile")) as write_id:
        try:
            check_reference(options.args[0])
        except ValueError as error:
            raise CliError(str(error)) from None
        if options.text("pull") == "always":
            _pull(session, options)
        answer = _post(session, options, body)
        for warning in answer.get("Warnings") or []:
            session.warn(f"WARNING: {warning}")
        write_id(answer["Id"])
    return str(answer["Id"])


def _post(session: Session, options: Options, body: dict[str, Any]) -> Any:
    query = {"name": options.text("name"), "platform": options.text("platform")}
    try:
        return session.client.call("POST", "/containers/create", query=query, body=body)
    except DaemonError as error:
        if error.code != 404 or options.text("pull") not in ("missing", "") or "o such image" not in error.reason:
            raise
    if not options.on("quiet"):
        session.warn(f"Unable to find image '{familiar(with_default_tag(options.args[0]))}' locally")
    _pull(session, options)
    return session.client.call("POST", "/containers/create", query=query, body=body)


def _pull(session: Session, options: Options) -> None:
    from sampan.cli.commands.pull import pull_image

    pull_image(session, options.args[0], platform=options.text("platform"), quiet=options.on("quiet"), output=2)


@contextlib.contextmanager
def _cid_file(path: str) -> Iterator[Any]:
    """A function that writes the ID to the file, which is removed again if nothing was created."""
    if not path:
        yield lambda _: None
        return
    file = Path(path)
    if file.exists():
        raise CliError(f"container ID file found, make sure the other container isn't running or delete {path}")
    try:
        file.touch()
    except OSError as error:
        raise CliError(f"failed to create the container ID file: {error}") from None
    try:
        yield file.write_text
    finally:
        if not file.stat().st_size:
            os.unlink(path)  # noqa: PTH108  # as with the touch above


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Turn errors within the context into those of `run`, with the exit status that tells a shell the reason."""
    try:
        yield
    except CliError as error:
        raise _run_failure(error) from None


def _run_failure(error: CliError) -> CliError:
    reason, status = str(error), 125
    if any(sign in reason for sign in _NOT_FOUND):
        status = 127
    elif any(sign in reason.lower() for sign in _NOT_INVOKABLE):
        status = 126
    return CliError(_explained(reason, "run"), status)


def _explained(reason: str, command: str) -> str:
    return f"{PROGRAM}: {reason}\n\nRun '{PROGRAM} {command} --help' for more information"


_RUN_ONLY = (
    Flag("detach", "Run container in background and print container ID", SWITCH, "d"),
    Flag("detach-keys", "Override the key sequence for detaching a container"),
    Flag("sig-proxy", "Proxy received signals to the process", SWITCH, default=True),
)

RUN = Command(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create and run a new container from an image",
    run,
    tuple(sorted((*CREATE_FLAGS, *_RUN_ONLY))),
    least=1,
    most=None,
    interspersed=False,
)
CREATE = Command(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    create,
    CREATE_FLAGS,
    least=1,
    most=None,
    interspersed=False,
)
