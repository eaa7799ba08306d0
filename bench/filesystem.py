"""A new file system for each sample of a work that creates many files.

The speed of a file system depends on its history: ext4 skips the inodes of recently removed files one by one
(fs/ext4/ialloc.c, recently_deleted). So no engine gets a file system that another one has used.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_BYTES = 16 << 30  # the size of a sparse file
_EAGER = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"  # leaves no background work to a kernel thread


@contextmanager
def fresh_ext4(directory: Path) -> Iterator[Path]:
    """A new ext4, mounted on a directory in `directory` for the duration of the context.

    It is in a file there, which is accessed by direct I/O, so that each block is cached only once.
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
        # Not lazily, as the kernel would still be freeing this engine's cache while the next one is measured.
        undo.callback(_run, "umount", "--recursive", str(mountpoint))
        yield mountpoint


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
