"""The operating system and processor that an image is for.

Names and the order of preference: containerd platforms (github.com/containerd/platforms).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.errdefs import InvalidArgument

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_LEVEL_LENGTH = 4  # variants have fewer digits, all of them ASCII
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


@dataclass(frozen=True)
class Platform:
    """An operating system, a processor architecture, and optionally its variant."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `linux/amd64`, `linux/arm/v7`, `arm64` or `linux`. Raises `InvalidArgument`."""
        parts = text.split("/")
        if len(parts) > 3 or not all(_COMPONENT.fullmatch(part) for part in parts):
            raise InvalidArgument(f'"{text}" is an invalid component of a platform: want OS/ARCHITECTURE[/VARIANT]')
        if len(parts) == 1:
            lone = parts[0].lower()
            return host_platform() if lone == "linux" else cls._of("linux", lone, "")
        return cls._of(*(part.lower() for part in (*parts, "")[:3]))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Platform:
        """The platform given in an image's config or an index's entry."""
        names = (document.get(field) or "" for field in ("os", "architecture", "variant"))
        return cls._of(*(name if isinstance(name, str) else "" for name in names))

    @classmethod
    def _of(cls, os_: str, architecture: str, variant: str) -> Platform:
        name, default = _ARCHITECTURES.get(architecture, (architecture, ""))
        return cls(os_, name, variant or default)

    def runs(self, image: Platform) -> bool:
        """Whether an image for `image` runs if this platform is asked for."""
        return self.rank(image) is not None

    def rank(self, image: Platform) -> int | None:
        """How well an image fits: 0 is best, `None` means that it does not run.

        A newer platform runs older variants.
        """
        if (self.os, self.architecture) != (image.os, image.architecture):
            return None
        wanted, offered = self._level, image._level
        if wanted == offered:
            return 0
        if not wanted or not offered or offered > wanted:
            return None
        return wanted - offered

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def _level(self) -> int:
        variant = self.variant or _DEFAULT_VARIANT.get(self.architecture, "")
        level = variant[1:]
        return int(level) if level.isascii() and level.isdigit() and len(level) < _LEVEL_LENGTH else 0


def host_platform() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    return Platform._of("linux", machine, "")
