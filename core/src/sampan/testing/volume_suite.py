"""The conformance suite of volume drivers.

from sampan.testing.volume_suite import VolumeDriverSuite

class TestTiny(VolumeDriverSuite):
    @pytest.fixture
    def factory(self) -> VolumeFactory:
        return TinyDriver
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.drivers import VolumeDriver, VolumeFactory
from sampan.errdefs import InvalidArgument


class VolumeDriverSuite:
    """Subclass it in a plugin's tests and provide the fixture `factory`."""

    @pytest.fixture
    def factory(self) -> VolumeFactory:
        """The driver's factory; to be overridden by every plugin."""
        raise NotImplementedError("provide a fixture `factory` that answers your VolumeFactory")

    @pytest.fixture
    def state_dir(self, tmp_path: Path) -> Path:
        """The driver's state directory."""
        return tmp_path

    @pytest.fixture
    def driver(self, factory: VolumeFactory, state_dir: Path) -> Iterator[VolumeDriver]:
        """A driver with the volume `sea`, which is removed after the test."""
        driver = factory(state_dir)
        driver.create("sea", {})
        yield driver
        driver.unmount("sea")
        driver.remove("sea")

    def test_it_works_here(self, driver: VolumeDriver) -> None:
        assert driver.probe() is None

    def test_a_mounted_volume_is_an_empty_directory(self, driver: VolumeDriver) -> None:
        driver.mount("sea", {})
        assert list(driver.path("sea").iterdir()) == []

    def test_content_outlives_the_driver(self, driver: VolumeDriver, factory: VolumeFactory, state_dir: Path) -> None:
        driver.mount("sea", {})
        (driver.path("sea") / "file").write_text("kept")
        again = factory(state_dir)
        again.create("sea", {})
        again.mount("sea", {})
        assert again.path("sea") == driver.path("sea")
        assert (again.path("sea") / "file").read_text() == "kept"

    def test_volumes_have_nothing_in_common(self, driver: VolumeDriver) -> None:
        driver.create("lake", {})
        try:
            for name in ("sea", "lake"):
                driver.mount(name, {})
            (driver.path("sea") / "file").touch()
            assert list(driver.path("lake").iterdir()) == []
        finally:
            driver.unmount("lake")
            driver.remove("lake")

    def test_what_is_removed_is_gone_and_may_be_removed_again(self, driver: VolumeDriver) -> None:
        driver.mount("sea", {})
        (driver.path("sea") / "file").touch()
        driver.unmount("sea")
        driver.unmount("sea")
        driver.remove("sea")
        driver.remove("sea")
        driver.create("sea", {})
        driver.mount("sea", {})
        assert list(driver.path("sea").iterdir()) == []

    def test_an_unknown_option_is_refused_and_nothing_made(self, driver: VolumeDriver) -> None:
        with pytest.raises(InvalidArgument):
            driver.create("lake", {"no.such.option": "x"})
        driver.remove("lake")
