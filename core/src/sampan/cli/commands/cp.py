"""`sampan cp`: copies files between a container and the local file system."""

from __future__ import annotations

import json
import os
import posixpath
import time
from collections.abc import Iterator
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.copying.paths import (
    Place,
    absolute,
    check_output,
    check_target,
    local_error,
    local_source,
    local_target,
    plan,
    rebased,
    renamed,
    split_argument,
    split_entry,
)
from sampan.cli.errors import CliError, ConnectionFailed, DaemonError
from sampan.cli.human import size
from sampan.cli.session import Session
from sampan.cli.terminal import STDERR, STDIN, STDOUT, is_terminal, write_all, write_text

_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27
_STAT_HEADER = "x-docker-container-path-stat"
_PIECE_BYTES = 256 * 1024
_SHOWN_EVERY_S = 0.075


def copy(session: Session, options: Options) -> None:
    """Copy in or out, depending on which argument names a container."""
    for name, argument in zip(("source", "destination"), options.args, strict=True):
        if not argument:
            raise CliError(f"{name} can not be empty")
    (source, source_path), (target, target_path) = map(split_argument, options.args)
    if source and target:
        raise CliError("copying between containers is not supported")
    if source:
        _copy_out(session, options, source, source_path, target_path)
    elif target:
        _copy_in(session, options, source_path, target, target_path)
    else:
        raise CliError("must specify at least one container source")


def _copy_out(session: Session, options: Options, container: str, path: str, target: str) -> None:
    if target != "-":
        target = absolute(target)
        check_output(target)
    source = Place(path)
    if options.on("follow-link") and (link := _stat(session, container, path)) and link["mode"] & _GO_LINK:
        source = renamed(path, _link_target(path, link))
    response = session.client.request("GET", f"/containers/{segment(container)}/archive", query={"path": source.path})
    if target == "-":
        for chunk in response.chunks():
            write_all(STDOUT, chunk)
        return
    is_directory = bool(_stat_in(response.head.headers)["mode"] & _GO_DIRECTORY)
    source = source._replace(is_directory=is_directory)
    directory, rename = plan(source, local_target(target))
    first = rebased(split_entry(source.path)[1], source.base) if source.base else None
    from sampan.cli.copying.unpack import unpack

    progress = _Progress(session, options, "Copying from container - ")
    unpack(progress.counted(response.chunks()), directory, lambda name: rename(first(name) if first else name))
    progress.finish(target)


def _copy_in(session: Session, options: Options, path: str, container: str, target: str) -> None:
    place = _container_target(session, container, target)
    if path == "-":
        if not place.is_directory:
            raise CliError(f'destination "{container}:{target}" must be a directory')
        directory, content = place.path, _stdin()
    else:
        source = local_source(absolute(path), follow=options.on("follow-link"))
        directory, rename = plan(source, place)
        from sampan.cli.copying.pack import pack

        content = pack(source, rename)
    progress = _Progress(session, options, "Copying to container - ")
    query = {"path": directory, "noOverwriteDirNonDir": "true", "copyUIDGID": options.on("archive")}
    try:
        session.client.request(
            "PUT", f"/containers/{segment(container)}/archive", query=query, body=progress.counted(content)
        ).read()
    except ConnectionFailed:
        raise
    except OSError as error:
        raise local_error("open", str(error.filename or path), error) from None
    progress.finish(f"{container}:{place.path}")


def _container_target(session: Session, container: str, path: str) -> Place:
    """The container's end of a copy into it. Without a stat it may still be created: the daemon decides."""
    stat = _stat(session, container, path)
    place = Place(path, exists=False)
    if stat and stat["mode"] & _GO_LINK:
        place = Place(_link_target(path, stat), exists=False)
        stat = _stat(session, container, place.path)
    if stat is None:
        return place
    check_target(stat["mode"], f"{container}:{path}")
    return place._replace(exists=True, is_directory=bool(stat["mode"] & _GO_DIRECTORY))


def _link_target(path: str, stat: dict[str, Any]) -> str:
    return posixpath.join(split_entry(path)[0], stat["linkTarget"])


def _stat(session: Session, container: str, path: str) -> dict[str, Any] | None:
    try:
        head = session.client.head(f"/containers/{segment(container)}/archive", query={"path": path})
    except DaemonError:
        return None
    return _stat_in(head.headers)


def _stat_in(headers: Any) -> dict[str, Any]:
    from base64 import b64decode

    try:
        return dict(json.loads(b64decode(headers[_STAT_HEADER])))
    except (KeyError, ValueError) as error:
        raise CliError(f"unable to decode container path stat header: {error}") from None


def _stdin() -> Iterator[bytes]:
    while piece := os.read(STDIN, _PIECE_BYTES):
        yield piece


class _Progress:
    """Counts copied bytes and shows them on a terminal; like docker, quiet by default if stdout is not a terminal."""

    def __init__(self, session: Session, options: Options, header: str) -> None:
        self._session = session
        self._quiet = options.on("quiet") if options.changed("quiet") else not is_terminal(STDOUT)
        self._shown = not self._quiet and is_terminal(STDERR)
        self._header = header
        self._bytes = 0
        self._next_at = 0.0

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the same pieces, counted."""
        for piece in pieces:
            self._bytes += len(piece)
            if self._shown and (now := time.monotonic()) >= self._next_at:
                write_text(STDERR, f"\r\x1b[K{self._header}{size(self._bytes)}")
                self._next_at = now + _SHOWN_EVERY_S
            yield piece

    def finish(self, target: str) -> None:
        """Report the end of the copy."""
        if self._shown:
            write_text(STDERR, "\r\x1b[K")
        if not self._quiet:
            self._session.warn(f"Successfully copied {size(self._bytes)} to {target}")


COPY = Command(
    "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tsampan cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem",
    copy,
    (
        Flag("archive", "Archive mode (copy all uid/gid information)", SWITCH, "a"),
        Flag("follow-link", "Always follow symlinks in SRC_PATH", SWITCH, "L"),
        Flag("quiet", "Suppress progress output during copy. It is, if no terminal is attached", SWITCH, "q"),
    ),
    least=2,
    most=2,
)
