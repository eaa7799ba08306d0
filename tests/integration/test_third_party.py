"""A third-party storage driver: built as a wheel, installed by pip into a fresh venv, with core unchanged."""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.engines import Sampand, running

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("tiny_storage.py")
VOLUMES = ROOT / "tests/support/volume_driver.py"
PYPROJECT = """
[project]
name = "sampan-tiny"
version = "0.0.7"
dependencies = ["sampan-core"]

[project.entry-points.sampan]
tiny = "sampan_tiny"
shelf = "sampan_tiny.shelf"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
CONFORMANCE = """
import pytest
from sampan.testing.storage_suite import StorageDriverSuite
from sampan_tiny import TinyDriver

class TestTiny(StorageDriverSuite):
    @pytest.fixture
    def factory(self):
        return TinyDriver
"""
CONFTEST = 'pytest_plugins = ["sampan.testing.plugin"]\n'
WHEELS = ("sampan_core", "sampan_bridge_net", "sampan_tiny")
LOAD = """
import dataclasses, json
from sampan.drivers.loader import load
drivers = load()
told = [[dataclasses.asdict(plugin) for plugin in found] for found in (drivers.provenance, drivers.broken)]
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Installed:
    """A venv with core, the network driver and the tiny storage driver, but no other package of the project."""

    dir: Path

    def run(self, program: str, *words: str) -> str:
        """The output of the venv's `program`; on failure, all its output is shown."""
        done = subprocess.run(
            [str(self.dir / "bin" / program), *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.dir,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class InstalledSampand(Sampand):
    """The venv's daemon, on the tiny driver."""

    def __init__(self, installed: Installed, root: Path) -> None:
        super().__init__(root, ("--storage-driver", "tiny", "--resource-driver", "none"))
        self._installed = installed

    def command(self) -> list[str]:
        return [str(self._installed.dir / "bin/sampand"), *self.common_flags()]


def has_default_route() -> bool:
    show = ("route", "show", "default")
    return any(
        subprocess.run(["ip", family, *show], capture_output=True, check=False).stdout for family in ("-4", "-6")
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Builds both wheels and installs them, as their authors and users would."""
    if not has_default_route():
        pytest.skip("pip needs a package index, and this machine has no way out")
    work = tmp_path_factory.mktemp("third-party")
    package = work / "sampan-tiny/src/sampan_tiny"
    package.mkdir(parents=True)
    (work / "sampan-tiny/pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text(DRIVER.read_text())
    (package / "shelf.py").write_text(VOLUMES.read_text())
    venv.create(work / "venv", with_pip=True)
    installed = Installed(work / "venv")
    wheels = work / "wheels"
    sources = (ROOT / "core", ROOT / "plugins/bridge_net", work / "sampan-tiny")
    installed.run("pip", "wheel", "-q", "--no-deps", "-w", str(wheels), *map(str, sources))
    core, *plugins = (str(next(wheels.glob(f"{name}-*.whl"))) for name in WHEELS)
    installed.run("pip", "install", "-q", f"{core}[testing]", *plugins)
    return installed


@pytest.mark.timeout(600)
def test_the_loader_offers_the_installed_driver_with_its_origin(installed: Installed) -> None:
    offered, broken = json.loads(installed.run("python", "-c", LOAD))
    assert broken == []
    assert [plugin for plugin in offered if plugin["name"] == "tiny"] == [
        {
            "kind": "storage",
            "name": "tiny",
            "distribution": "sampan-tiny",
            "version": "0.0.7",
            "entry_point": "sampan_tiny",
            "error": None,
        }
    ]


def test_the_driver_passes_the_conformance_suite_that_core_ships(installed: Installed) -> None:
    (installed.dir / "conftest.py").write_text(CONFTEST)
    (installed.dir / "test_tiny.py").write_text(CONFORMANCE)
    assert "passed" in installed.run("pytest", "-q", "-W", "error", "test_tiny.py")


@pytest.mark.root
def test_a_container_runs_on_the_driver(
    installed: Installed, archives: Archives, session_dir: Path, leak_marks: list[str]
) -> None:
    engine = InstalledSampand(installed, Path(tempfile.mkdtemp(prefix="t", dir=session_dir)))
    leak_marks.extend(engine.marks)
    with running(engine):
        sampan = ("sampan", "-H", engine.host)
        installed.run(*sampan, "load", "-q", "-i", str(archives.busybox))
        script = "touch /new && rm /bin/ls && echo hello"
        ran = installed.run(*sampan, "run", "--name", "web", "--network", "none", "busybox:test", "sh", "-c", script)
        assert ran == "hello\n"
        assert "Storage Driver: tiny" in installed.run(*sampan, "info")
        assert len(list((engine.data_root / "drivers/tiny").glob("active-*"))) >= 1
        installed.run(*sampan, "rm", "web")
        assert list((engine.data_root / "drivers/tiny").glob("active-*")) == []


@pytest.mark.root
def test_a_container_has_a_volume_of_the_volume_driver(
    installed: Installed, archives: Archives, session_dir: Path, leak_marks: list[str]
) -> None:
    engine = InstalledSampand(installed, Path(tempfile.mkdtemp(prefix="t", dir=session_dir)))
    leak_marks.extend(engine.marks)
    shelf = engine.data_root / "drivers/shelf/shelf"
    with running(engine):
        sampan = ("sampan", "-H", engine.host)
        run = (*sampan, "run", "--rm", "--network", "none", "-v", "cargo:/cargo", "busybox:test")
        installed.run(*sampan, "load", "-q", "-i", str(archives.busybox))
        installed.run(*sampan, "volume", "create", "-d", "shelf", "cargo")
        installed.run(*run, "sh", "-c", "echo kept > /cargo/file")
        assert (shelf / "cargo/file").read_text() == "kept\n"
        assert installed.run(*run, "cat", "/cargo/file") == "kept\n"
        installed.run(*sampan, "volume", "rm", "cargo")
        assert not (shelf / "cargo").exists()
