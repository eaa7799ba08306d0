"""A file system of its own for each sample of a work that makes many files.

How quick a file system is depends on what it went through: ext4 passes over the inodes of files that were removed in
the last minutes (fs/ext4/ialloc.c, recently_deleted), one by one. So no engine gets what another one left.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_BYTES = 16 << 30  # of a sparse file
_EAGER = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"  # nothing is left for a kernel thread to do meanwhile


@contextmanager
def fresh_ext4(directory: Path) -> Iterator[Path]:
    """A new ext4, mounted on a directory in `directory` as long as the context lasts.

    It lies in a file there, which is written past the page cache, so that each block is cached once only.
    """
    with ExitStack() as undo:
        place = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=directory)))
        image, mountpoint = place / "image", place / "mounted"
        mountpoint.mkdir()
        with image.open("wb") as opened:
            opened.truncate(_BYTES)
        _run("mkfs.ext4", "-q", "-E", _EAGER, str(image))
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image))
        undo.callback(_run, "losetup", "--detach", device)
        _run("mount", device, str(mountpoint))
        # Not lazily: the next engine would have to wait for what this one leaves in memory.
        undo.callback(_run, "umount", "--recursive", str(mountpoint))
        yield mountpoint


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
