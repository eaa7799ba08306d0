"""The volume driver's interface: it keeps directories that outlive containers.

The core knows who uses a volume: `mount` comes before the first container that has it starts, `unmount` after the
last has ended. It binds `path` into containers, fills an empty volume from the image, and refuses to remove a volume
that a container has.

Methods may block: the daemon calls them in worker threads, for one volume one at a time.
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
        """Make an empty volume; one that is there already, left by a daemon that was killed, is no error.

        Raises `InvalidArgument` for options that it does not take, having made nothing.
        """

    def remove(self, name: str) -> None:
        """Remove a volume with its content. It is no error if it is not there, or half removed."""

    def path(self, name: str) -> Path:
        """Where the content is while the volume is mounted: always the same directory. Does not block."""

    def mount(self, name: str, options: Mapping[str, str]) -> None:
        """Have the content at `path`, as a directory. It is no error if it is there: a killed daemon's containers
        run on. Raises `SystemFailure` with the reason if it can't be."""

    def unmount(self, name: str) -> None:
        """Nobody uses the volume. It is no error if it is not mounted."""


VolumeFactory: TypeAlias = Callable[[Path], VolumeDriver]
"""Makes a volume driver that keeps its state in this directory, which exists. Does not touch the host otherwise."""
