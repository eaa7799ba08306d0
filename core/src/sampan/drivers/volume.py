"""The interface of volume drivers: they keep directories that outlive containers.

The core keeps track of who uses a volume: it calls `mount` before the first container with it starts, and `unmount`
after the last one has ended. It bind-mounts `path` into containers, fills an empty volume from the image, and refuses
to remove a volume that a container uses.

Methods may block: the daemon calls them in worker threads, one at a time for each volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias


class VolumeDriver(Protocol):
    """Keeps volumes by name. `options` are those the volume was created with; the core keeps them."""

    def probe(self) -> str | None:
        """Why this driver can't work on this host, in one sentence; `None` if it can."""

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Create an empty volume. Not an error if it exists already, left by a daemon that was killed.

        Raises `InvalidArgument`, without creating anything, for options that it does not accept.
        """

    def remove(self, name: str) -> None:
        """Remove a volume with its content. Not an error if it does not exist, or is half removed."""

    def path(self, name: str) -> Path:
        """Where the content is while the volume is mounted: always the same directory. Does not block."""

    def mount(self, name: str, options: Mapping[str, str]) -> None:
        """Make the content available at `path`, as a directory. Not an error if it is there already: the containers
        of a killed daemon keep running. Raises `SystemFailure` with the reason if it fails."""

    def unmount(self, name: str) -> None:
        """The volume is no longer in use. Not an error if it is not mounted."""


VolumeFactory: TypeAlias = Callable[[Path], VolumeDriver]
"""Creates a volume driver that keeps its state in this directory, which exists. Touches nothing else on the host."""
