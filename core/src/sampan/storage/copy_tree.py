"""Copies a directory tree that does not change during the copy, with all metadata.

The work is done by cp(1) of GNU coreutils: it reflinks where the file system supports it (FICLONE), otherwise copies
in the kernel (copy_file_range(2)), and preserves holes, hard links, owners, modes, times, extended attributes
(including file capabilities and ACLs) and special files. As a separate process it does not hold the daemon's GIL.
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
    # Listed explicitly, as `--archive` silently drops what it can't preserve.
    "--preserve=mode,ownership,timestamps,links,xattr",
    "--reflink=auto",
    "--sparse=auto",
    "--no-target-directory",
    "--",
)


def copy_tree(source: Path, target: Path) -> None:
    """Copy the directory `source` to `target`, which must not exist.

    Raises `SystemFailure` with the first error; removing the incomplete copy is up to the caller.
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
