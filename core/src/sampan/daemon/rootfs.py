"""The files of a container that does not run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sampan.drivers import Mount
from sampan.images.mounted import mounted


@contextmanager
def open_rootfs(mounts: Sequence[Mount], state_dir: Path) -> Iterator[int]:
    """The root directory, open, mounted where nobody else sees it. Blocks; raises `SystemFailure`."""
    with mounted(mounts, state_dir) as path:
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)
