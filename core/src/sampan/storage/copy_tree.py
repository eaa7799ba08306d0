"""Copies a directory tree that nobody changes meanwhile, with all that a file is.

cp(1) of GNU coreutils does it: it reflinks where the file system can (FICLONE), else copies in the kernel
(copy_file_range(2)), and keeps holes, hard links, owners, modes, times, extended attributes (file capabilities and
ACLs among them) and special files. In a process of its own it does not keep the interpreter's lock from the daemon.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sampan.errdefs import SystemFailure

_COPY = (
    "cp",
    "--recursive",
    "--no-dereference",
    # Named one by one: what `--archive` can't keep it drops in silence.
    "--preserve=mode,ownership,timestamps,links,xattr",
    "--reflink=auto",
    "--sparse=auto",
    "--no-target-directory",
    "--",
)


def copy_tree(source: Path, target: Path) -> None:
    """Make `target`, which isn't there, a copy of the directory `source`.

    Raises `SystemFailure` with the first thing that went wrong; what was copied until then is left to the caller.
    """
    words = [*_COPY, str(source), str(target)]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise SystemFailure(f"cp can't be started: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").splitlines()
        raise SystemFailure(said[0] if said else f"cp ended with status {done.returncode}")
