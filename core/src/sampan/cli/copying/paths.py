"""The name and destination of a copy by docker's rules: those of cp(1), with a meaning for a trailing `/` or `/.`.

Source: moby go-archive copy.go; docker/cli cli/command/container/cp.go and cli/command/utils.go.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from sampan.cli.errors import CliError

Rename = Callable[[str], str]
"""Maps a name in an archive to its new name."""

_LINKS = 10
_GO_DEVICE = 1 << 26


class Place(NamedTuple):
    """One end of a copy. `base` is the last part of the path as requested, if that differs from its real name."""

    path: str
    exists: bool = True
    is_directory: bool = False
    base: str = ""


def split_argument(argument: str) -> tuple[str, str]:
    """Split `CONTAINER:PATH`; no container for a local path, which must begin with `/` or `.` if it has a colon."""
    container, colon, path = argument.partition(":")
    if argument.startswith("/") or not colon or container.startswith("."):
        return "", argument
    return container, path


def absolute(path: str) -> str:
    """A local path, absolute and clean, but with its trailing `/` or `/.`."""
    return with_ending(os.path.abspath(path), path)  # noqa: PTH100  # pathlib costs 8 ms of start


def with_ending(clean: str, original: str) -> str:
    """`clean` with the trailing `/` or `/.` of `original`."""
    if _is_content(original) and not _is_content(clean):
        clean = f"{clean.rstrip('/')}/."
    return clean + "/" if original.endswith("/") and not clean.endswith("/") else clean


def split_entry(path: str) -> tuple[str, str]:
    """The directory of a path and its last part, which is `.` if it ends in `/.`."""
    clean = os.path.normpath(path)
    if _is_content(path):
        return clean, "."
    parent, base = os.path.split(clean)
    return parent or ".", base or "/"


def check_output(path: str) -> None:
    """Raise `CliError` with docker's message if the local path can't be written to."""
    parent = os.path.dirname(os.path.normpath(path))  # noqa: PTH120
    if parent and not os.path.exists(parent):  # noqa: PTH110
        raise CliError(f'invalid output path: directory "{parent}" does not exist')
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return
    except OSError as error:
        raise local_error("stat", path, error) from None
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise CliError(f'invalid output path: "{path}" must be a directory or a regular file: got a device')


def check_target(mode: int, name: str) -> None:
    """Raise `CliError` if a file in the container, with Go's `mode`, can't be a copy's destination."""
    if mode & _GO_DEVICE:
        raise CliError(f'destination "{name}" must be a directory or a regular file: got a device')


def local_source(path: str, *, follow: bool) -> Place:
    """The local end of a copy into a container. Links are followed, in the last part only if `follow`."""
    try:
        resolved, base = _resolve(path, follow=follow)
        return Place(resolved, is_directory=stat.S_ISDIR(os.lstat(resolved).st_mode), base=base)
    except OSError as error:
        raise local_error("lstat", path.rstrip("/") or path, error) from None


def local_target(path: str) -> Place:
    """The local end of a copy out of a container. Links are followed; the last one may be dangling."""
    at = path
    for _ in range(_LINKS):
        try:
            mode = os.lstat(at).st_mode
        except FileNotFoundError:
            return _new_target(at)
        except OSError as error:
            raise local_error("lstat", at, error) from None
        if not stat.S_ISLNK(mode):
            return Place(at, is_directory=stat.S_ISDIR(mode))
        at = os.path.join(split_entry(at)[0], os.readlink(at))  # noqa: PTH118, PTH115
    raise CliError(f"too many symlinks in {path}")


def renamed(path: str, target: str) -> Place:
    """The place of `path` if its last part is a link to `target`."""
    resolved = with_ending(target, path)
    is_other = _base(path) != _base(resolved)
    return Place(resolved, base=_base(path) if is_other else "")


def plan(source: Place, target: Place) -> tuple[str, Rename]:
    """The directory in which to unpack the archive of `source`, and how to rename it. Raises `CliError`."""
    parent, base = split_entry(target.path)
    if target.exists and target.is_directory:
        return target.path, _same
    if target.exists and source.is_directory:
        raise CliError("cannot copy directory")
    if not target.exists and not source.is_directory and (target.path.endswith("/") or _is_content(target.path)):
        raise CliError("no such directory")
    return parent, rebased(source.base or split_entry(source.path)[1], base)


def rebased(old: str, new: str) -> Rename:
    """Replaces `old` at the beginning of names by `new`."""
    return lambda name: name.replace("" if old == "/" else old, new, 1)


def local_error(deed: str, path: str, error: OSError) -> CliError:
    """The error of a system call, worded as by docker."""
    return CliError(f"{deed} {path}: {(error.strerror or str(error)).lower()}")


def _same(name: str) -> str:
    return name


def _new_target(path: str) -> Place:
    parent = split_entry(path)[0]
    try:
        mode = os.stat(parent).st_mode  # noqa: PTH116
    except OSError as error:
        raise local_error("stat", parent, error) from None
    if not stat.S_ISDIR(mode):
        raise CliError("not a directory")
    return Place(path, exists=False)


def _resolve(path: str, *, follow: bool) -> tuple[str, str]:
    if follow:
        place = renamed(path, os.path.realpath(path, strict=True))
        return place.path, place.base
    parent, base = os.path.split(path)
    resolved = os.path.join(os.path.realpath(parent or ".", strict=True), base)  # noqa: PTH118
    is_other = path.endswith("/") and _base(path) != _base(resolved)
    return resolved, _base(path) if is_other else ""


def _base(path: str) -> str:
    """The last part of a path, as by Go's filepath.Base."""
    return os.path.basename(path.rstrip("/")) or "/"  # noqa: PTH119


def _is_content(path: str) -> bool:
    return os.path.basename(path.rstrip("/")) == "." or not path  # noqa: PTH119
