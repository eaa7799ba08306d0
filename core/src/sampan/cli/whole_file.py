"""Files that appear only once they are complete."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from sampan.cli.errors import CliError
from sampan.cli.terminal import write_all


def check_output(path: str) -> None:
    """Raise `CliError` if no file can be created at the path, to be called before any request to the daemon."""
    parent = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120  # pathlib costs 8 ms of start
    if not os.path.isdir(parent):  # noqa: PTH112
        raise CliError(f'invalid output path: directory "{parent}" does not exist')
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CliError(f'invalid output path: "{path}" is not a regular file')


def write_whole(path: str, chunks: Iterable[bytes]) -> None:
    """Write a file atomically, readable only by its owner. Raises `CliError`."""
    part = f"{path}.part-{os.getpid()}"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for chunk in chunks:
                write_all(descriptor, chunk)
            os.replace(part, path)  # noqa: PTH105
        except BaseException:
            os.unlink(part)  # noqa: PTH108
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}") from None
