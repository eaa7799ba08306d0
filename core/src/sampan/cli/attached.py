"""Attaching to a container, shared by `run`, `start`, `attach` and `exec`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from sampan.cli.client.client import document_of
from sampan.cli.client.http import Response
from sampan.cli.command import Options
from sampan.cli.detach_keys import key_bytes
from sampan.cli.errors import CliError
from sampan.cli.session import Session
from sampan.cli.signals import following_size
from sampan.cli.streaming import Attachment

_STREAMS = ("stdin", "stdout", "stderr")


def checked_keys(session: Session, options: Options) -> str:
    """The detach keys of `--detach-keys` or config.json, "" for the default. Raises `CliError` if invalid."""
    keys = options.text("detach-keys") or session.setting("detachKeys")
    try:
        key_bytes(keys or "a")
    except ValueError as error:
        raise CliError(str(error)) from None
    return keys


def attach_to(session: Session, container_id: str, streams: Iterable[int], *, tty: bool, keys: str) -> Attachment:
    """Attach the standard streams with these numbers to a container."""
    chosen = set(streams)
    query = {"stream": True, "detachKeys": keys, **{name: number in chosen for number, name in enumerate(_STREAMS)}}
    response = session.client.hijack(f"/containers/{container_id}/attach", query=query)
    return Attachment(response, stdin=0 in chosen, outputs=chosen - {0}, tty=tty, detach_keys=keys)


def stay(
    session: Session, path: str, attachment: Attachment, *, tty: bool, ended: int | None = None, redraw: bool = False
) -> bool:
    """Copy streams until the container (or exec) at `path` ends; returns true if the user typed the detach keys."""
    with following_size(session.client, path, attachment, redraw=redraw) if tty else contextlib.nullcontext():
        return attachment.copy(ended)


def wait_for(session: Session, container_id: str, condition: str) -> Response:
    """Begin to wait for a container; when this returns, the daemon is already waiting."""
    return session.client.request("POST", f"/containers/{container_id}/wait", query={"condition": condition})


def exit_status(waiting: Response) -> int:
    """The container's exit status, once it has ended. Raises `CliError` with status 125 if waiting failed."""
    answer = document_of(waiting.read() or b"{}")
    if "StatusCode" not in answer:
        raise CliError("error waiting for container: the daemon closed the connection", 125)
    if error := answer.get("Error"):
        raise CliError(f"Error waiting for container: {error['Message']}", 125)
    return int(answer["StatusCode"])
