"""A volume driver as a third party might write it: a volume leaves its shelf while it is in use."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from sampan.drivers import VolumeFactory, hookimpl
from sampan.errdefs import InvalidArgument, SystemFailure


class ShelfDriver:
    """Keeps volumes below `shelf`, and from `mount` to `unmount` below `used`. Accepts the option `owner`."""

    def __init__(self, state_dir: Path) -> None:
        self._shelf, self._used = state_dir / "shelf", state_dir / "used"

    def probe(self) -> str | None:
        return None

    def create(self, name: str, options: Mapping[str, str]) -> None:
        if unknown := options.keys() - {"owner"}:
            raise InvalidArgument(f"create {name}: unknown option {min(unknown)}")
        self._used.mkdir(exist_ok=True)
        if not self.path(name).exists():
            (self._shelf / name).mkdir(parents=True, exist_ok=True)

    def remove(self, name: str) -> None:
        for place in (self._shelf / name, self.path(name)):
            shutil.rmtree(place, ignore_errors=True)

    def path(self, name: str) -> Path:
        return self._used / name

    def mount(self, name: str, options: Mapping[str, str]) -> None:
        self._move(self._shelf / name, self.path(name))

    def unmount(self, name: str) -> None:
        if self.path(name).exists():
            self._move(self.path(name), self._shelf / name)

    def _move(self, source: Path, target: Path) -> None:
        if target.exists():
            return
        try:
            source.rename(target)
        except OSError as error:
            raise SystemFailure(f"volume {source.name} can't be moved: {error.strerror}") from error


@hookimpl
def sampan_volume_driver() -> tuple[str, VolumeFactory]:
    return "shelf", ShelfDriver
