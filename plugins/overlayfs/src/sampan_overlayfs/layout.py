"""The layout of the driver's state directory.

metadata.db          the list of snapshots
snapshots/<n>/fs     the files of snapshot number n: an overlay layer
snapshots/<n>/work   overlayfs's work directory, for an active snapshot with a parent
l/<n>                symbolic link to snapshots/<n>/fs: short, as a mount's options must fit into one page
trash/               what is being deleted
"""

from __future__ import annotations

from pathlib import Path

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Layout:
    """The paths of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.metadata = state_dir / "metadata.db"
        self.snapshots = state_dir / "snapshots"
        self.links = state_dir / "l"
        self.trash = state_dir / "trash"

    def snapshot(self, number: int) -> Path:
        """The directory of snapshot `number`."""
        return self.snapshots / str(number)

    def files(self, number: int) -> Path:
        """Its layer."""
        return self.snapshot(number) / "fs"

    def work(self, number: int) -> Path:
        """Its work directory."""
        return self.snapshot(number) / "work"

    def link(self, number: int) -> Path:
        """The short symbolic link to its layer."""
        return self.links / _base36(number)

    def link_target(self, number: int) -> Path:
        """The target of the link: relative, so that the state directory can be moved as a whole."""
        return Path("..", self.snapshots.name, str(number), "fs")


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
